"""The study: an immutable description of everything that is going to be trained."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweeps.errors import SpecError, StoreError
from sweeps.study.objectives import facts_of
from sweeps.study.sampling import Sampler
from sweeps.study.space import Hyperparameter, Value
from sweeps.study.trial import digest
from sweeps.study.units import Unit
from sweeps.system.files import atomic_write, parse_toml, read_text

STUDY_DIGITS = 6
MAX_MODELS_CHARACTERS = 60  # characters; a file's name has at most 255


class Estimand(BaseModel):
    """The primary measure: how models are compared, declared before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    within: float = Field(default=4.0, gt=0)
    """Points above the reference; 4 is the paper's own number (section 5.3)."""
    reference: Literal["sample-min"] = "sample-min"
    policy: Literal["chance", "last", "best", "drop", "beyond"] = "chance"
    """`beyond`: for a loss, which has no chance; failures lie beyond every distance."""


class Configuration(BaseModel):
    """A configuration that is listed instead of drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    optim: str
    epochs: int
    hyperparameters: dict[str, Value]
    """As applied."""


class Study(BaseModel):
    """Everything that is trained, resolved: nothing depends on a default of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)
    """Full names."""
    optims: tuple[str, ...] = Field(min_length=1)
    epochs: tuple[int, ...] = Field(min_length=1)
    """Schedule lengths; each draw is trained at each."""
    draws: int = Field(ge=1)
    """Points of the unit cube, each with a trial for each model, optimizer and length. If the
    configurations are listed: number of seeds that each is trained with."""
    sampler: Literal[Sampler, "listed"]
    seed: int = Field(ge=0)
    """Seed of the design and, together with the number of the draw, of each training."""
    data: str
    """Short name of the data, in tables, titles and the name of the run directory."""
    data_source: str = ""
    """Name by which the objective loads the data, such as `folder:/home/me/flowers`; empty if
    `data` is enough. Not part of the hash, since a place is no content."""
    left_out: dict[str, tuple[str, ...]] = {}
    """Unreadable images that are left out, by class. The fingerprint is of the other images."""
    fingerprint: str
    """Digest of the content of the data."""
    precision: Literal["float32", "bfloat16"] = "float32"
    objective: str = Field(pattern=r"^[\w.]+:\w+$")
    """`module:function`"""
    recipe: dict[str, dict[str, Any]]
    """Settings that are not drawn, by optimizer."""
    model_settings: dict[str, dict[str, Any]] = {}
    """Further settings by model. They replace those of the recipe; drawn values replace them."""
    space: tuple[Hyperparameter, ...] = Field(min_length=1)
    configurations: tuple[Configuration, ...] = ()
    """What is trained if the sampler is `listed`, so that nothing is drawn."""
    primary: Estimand = Estimand()
    unit: Unit = ""
    """Unit of the errors that the objective returns; empty if none was named. It may be named after
    trials were trained, so the hash leaves it out, and with `raw` also `primary`, which is in it.
    """
    origin: str = ""
    """Source of recipe and space, in words. No result depends on it."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in ("models", "optims", "epochs"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} holds {values}: the same twice")
        if missing := [optim for optim in self.optims if optim not in self.recipe]:
            raise ValueError(f"no recipe for {', '.join(missing)}")
        if (self.unit == "raw") != (self.primary.policy == "beyond"):
            raise ValueError("the policy is 'beyond' where the unit is 'raw', only there")
        if unknown := [model for model in self.model_settings if model not in self.models]:
            raise ValueError(f"model_settings names {', '.join(unknown)}, not a model of the study")
        if (self.sampler == "listed") != bool(self.configurations):
            raise ValueError("configurations are listed where the sampler is 'listed', only there")
        return self

    def constants(self, model: str, optim: str) -> dict[str, Any]:
        """Return the settings of a model's trials with an optimizer that are not drawn."""
        return {**self.recipe[optim], **self.model_settings.get(model, {})}

    @property
    def hash(self) -> str:
        """6 hexadecimal digits of the content.

        Fields at their default are left out, so that a field that is added later renames no old
        study. So a default may never change. The place of the data and the unit are left out.
        """
        excluded = {"origin", "data_source", "left_out", "unit"} | self._in_unit
        content = self.model_dump(mode="json", exclude_defaults=True, exclude=excluded)
        return digest(content, STUDY_DIGITS)

    @property
    def read_by(self) -> str:
        """Unit by which results are read: the named one, or that of a built-in objective."""
        return self.unit or facts_of(self.objective).unit

    @property
    def _in_unit(self) -> set[str]:
        """Further fields that depend on the unit."""
        return {"primary"} if self.unit == "raw" else set()

    def in_unit(self, unit: Unit, within: float | None = None) -> "Study":
        """Return the same study with another unit; `raw` needs its own `within`."""
        changes: dict[str, Any] = {"unit": unit}
        if "raw" in (unit, self.unit):
            is_raw = unit == "raw"
            changes["primary"] = {"within": within, "policy": "beyond"} if is_raw else {}
        return type(self).model_validate({**self.model_dump(), **changes})

    @property
    def name(self) -> str:
        """Name of the run directory: a readable part and the hash.

        Several models, optimizers or lengths are joined by `+`. If the models are too many for the
        name of a file, their number stands for them.
        """
        epochs = "+".join(map(str, self.epochs))
        models, optims = "+".join(self.models), "+".join(self.optims)
        if len(models) > MAX_MODELS_CHARACTERS:
            models = f"{len(self.models)}-models"
        readable = f"{models}-{optims}-{self.data}-e{epochs}-n{self.draws}"
        return re.sub(r"[^\w.+-]", ".", readable) + f"-{self.hash}"

    @property
    def trials(self) -> int:
        """Number of trials."""
        groups = len(self.models) * len(self.optims) * len(self.epochs)
        return self.draws * (len(self.configurations) or groups)

    def write(self, path: Path) -> None:
        """Write the study as TOML, whole or not at all."""
        import tomli_w

        optional = ("origin", "model_settings", "left_out", "unit")
        empty = {name for name in optional if not getattr(self, name)}
        content = self.model_dump(mode="json", exclude_none=True, exclude=empty)
        header = f"# Study {self.hash}: {self.trials} trials. Only its unit may be named later.\n"
        with atomic_write(path) as temporary:
            temporary.write_text(header + tomli_w.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Study":
        """Read a study from TOML.

        Raises StoreError if the file cannot be read, SpecError with every fault of its content.
        """
        try:
            content = parse_toml(read_text(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise SpecError([f"{path}: {fault}" for fault in faults]) from error

    def differences(self, other: "Study") -> list[str]:
        """Return a sentence for each field, except the unit, in which `other` differs."""
        excluded = {"origin", "left_out", "unit"} | (self._in_unit ^ other._in_unit)
        mine, theirs = (s.model_dump(mode="json", exclude=excluded) for s in (self, other))
        return [
            f"{name}: {theirs[name]!r} there, {mine[name]!r} asked for"
            for name in mine
            if mine[name] != theirs[name]
        ]
