"""The trial and its id; what an objective takes (`Cohort`) and yields (`Result`)."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.study.objectives import facts_of
from sweeps.study.space import Value

HASH_DIGITS = 12  # 8 would let two of 100,000 trials meet in more runs than not

TRAINED = ("ok", "collapsed", "diverged")
"""Outcomes of a training that ran; a diverged training is a result."""
FAILED = ("crashed", "out_of_memory", "timed_out")
"""Outcomes of failures of the infrastructure; such a trial is run again."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration, trained once."""

    id: str
    study: str
    """Hash of the study that drew it."""
    draw: int
    model: str
    optim: str
    epochs: int
    seed: int
    """Seed of the training: initial weights and order of the images."""
    data: str
    fingerprint: str
    """Digest of the content of the data."""
    data_source: str = ""
    """Name by which the data are loaded; empty if `data` is enough."""
    hyperparameters: dict[str, Value]
    """Drawn values, as applied."""
    settings: dict[str, Any]
    """The resolved recipe: constants and hyperparameters."""
    precision: str
    objective: str


GetState = Callable[[], bytes]
"""Returns the state of a training at the end of an epoch."""


class Saved:
    """Where a training keeps its state, to go on after an interruption. This one keeps nothing.

    A training loads once before it begins and offers its state between epochs. What was kept is
    removed when its result is written.
    """

    seconds_before: float = 0.0
    """Seconds of training that led to the state that was loaded."""

    def load(self) -> bytes | None:
        """What an interrupted training of this trial left; None to begin anew."""
        return None

    def maybe_save(
        self, state: GetState, others: Sequence[tuple[Any, GetState]] | None = None
    ) -> None:
        """Keep what `state` returns if that is due; otherwise `state` is not called.

        `others`: a `Saved` and the state of each other trial that is trained as one with this one.
        They are kept when this one is, so that all can go on together.
        """

    def offer(self, state: GetState, beside: Sequence[tuple[Any, GetState]] | None = None) -> None:
        """Earlier name of `maybe_save`."""
        self.maybe_save(state, beside)

    def discard(self, reason: str) -> None:
        """Note that what was loaded cannot be used: training begins anew."""


NOT_SAVED = Saved()


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Trials that are trained as one, on one device."""

    trials: tuple[Trial, ...]
    device: str
    """`cpu` or `cuda`; of several GPUs the worker sees only its own."""
    engine: str = "eager"
    """Engine that trains them; `eager` trains one by one."""
    saved: Mapping[str, Saved] = field(default_factory=dict)
    """Where each trial keeps its state, by trial id; empty outside of a sweep."""
    unit: str = ""
    """Unit of the objective's errors (`sweeps.study.units`); empty if none was named."""

    def saved_of(self, trial: Trial) -> Saved:
        """Return where the training of `trial` keeps its state."""
        return self.saved.get(trial.id, NOT_SAVED)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an objective yields for one trial."""

    trial: str
    outcome: str
    values: dict[str, Any] = field(default_factory=dict)
    """Columns of the results table, as far as the objective knows them."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the curves table, without `trial`."""


Objective = Callable[[Cohort], Iterator[Result]]
"""Named in the study as `module:function`; yields a result for each trial as it ends.

An exception is a failure of the infrastructure. Results that were yielded before it are kept; the
other trials of the cohort are run again.
"""


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal content has equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, digits: int) -> str:
    """Return the first hexadecimal `digits` of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]


def trial_id(model: str, optim: str, epochs: int, resolved: dict[str, Any]) -> str:
    """Return a readable part and the hash of everything that decides a trial's result.

    `resolved`: seed, settings, precision, fingerprint of the data, objective. A setting with the
    value that all trials had before the setting existed is left out, so that a new setting changes
    no id of a finished trial. Raises SpecError if a built-in objective is not registered.
    """
    old = facts_of(resolved["objective"]).old_defaults
    settings = {
        name: value
        for name, value in resolved["settings"].items()
        if name not in old or old[name] != value
    }
    content = {"model": model, "optim": optim, "epochs": epochs, **resolved, "settings": settings}
    readable = re.sub(r"[^\w.+-]", ".", f"{model}-{optim}-e{epochs}")  # it names files
    return f"{readable}-{digest(content, HASH_DIGITS)}"
