"""The options that say what is trained, as they were typed, and constants of the modules here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.study.space import Hyperparameter

IMAGE_OBJECTIVE = "stability.objective:train_images"
"""The objective of a study that does not name one: trains this package's models on images."""
STUDY_DEFAULTS = {"draws": "64", "sampler": "random", "seed": "0"}


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options that say what is trained, as they were typed; None for those that were not."""

    model: str | None = None
    optim: str | None = None
    data: str | None = None
    epochs: str | None = None
    draws: str | None = None
    sampler: str | None = None
    seed: str | None = None
    stem: str | None = None
    depth: str | None = None
    pool: str | None = None
    precision: str | None = None
    objective: str | None = None
    unit: str | None = None
    within: str | None = None
    study: Path | None = None
    lr: list[str] = field(default_factory=list)
    weight_decay: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    space: tuple[Hyperparameter, ...] = ()
    """Hyperparameters of a study file."""
    recipe: str | None = None
    """Name of the recipe."""
    set: list[str] = field(default_factory=list)
    """Single settings of the recipe."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Single settings of the recipe, from a study file."""
    skip_unreadable: bool = False
    """Leave out the images that cannot be read."""

    def with_defaults(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """Values of these options: what was typed, else the default."""
        asked = {name: getattr(self, name) for name in defaults}
        return {name: defaults[name] if asked[name] is None else asked[name] for name in defaults}
