"""Engines of the objective of image studies: which trials are alike, which way is fastest."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from stability.training.captured import FREE
from stability.training.choice import measured, unstackable
from stability.training.cohort import OWN
from stability.training.engine_names import Engine, fastest, fault, parse
from stability.training.loop import Job
from stability.training.tensors import TensorData
from sweeps.engine import AUTO, Engines, Way
from sweeps.errors import DispatchError
from sweeps.trial import Trial, canonical

MEASURED_KINDS = 8  # a study that draws batch sizes may have hundreds; a kind takes some seconds
MILLI = 1e3


class ImageEngines(Engines):
    """Of trials that `stability.training` trains."""

    def __init__(
        self,
        job_of: Callable[[Trial], Job],
        data_of: Callable[[Trial, str], TensorData],
    ) -> None:
        self._job_of, self._data_of = job_of, data_of

    def kind(self, trial: Trial) -> str:
        """Model, optimizer, batch."""
        return f"{trial.model}, {trial.optim}, batch {batch_of(trial)}"

    def alike(self, trial: Trial, engine: str) -> Hashable:
        """Model, optimizer, length, and the settings that shape the computation."""
        own = own_settings(engine)
        settings = {name: value for name, value in trial.settings.items() if name not in own}
        return trial.model, trial.optim, trial.epochs, trial.fingerprint, canonical(settings)

    def ways(self, trials: Sequence[Trial], device: str, asked: str) -> dict[str, Way]:
        """By kind, in the order of the design. Where many kinds are, the first few are measured.

        Raises DispatchError where the engine that is asked for cannot be used on this device.
        """
        if asked == AUTO and device == "cpu":
            return {}  # one by one, a core each, is what is fastest there: docs/engines.md
        kinds: dict[str, list[Trial]] = {}
        for trial in trials:
            kinds.setdefault(self.kind(trial), []).append(trial)
        if asked != AUTO:
            engine = parse(asked)
            if why := fault(engine, device):
                raise DispatchError(f"--engine: {why}")
            return {kind: self._asked(engine, kinds[kind][0], device) for kind in kinds}
        found: dict[str, Way] = {}
        for kind, members in kinds.items():
            if len(found) < MEASURED_KINDS:
                found[kind] = self._measured(members, device)
            else:
                found[kind] = _like(members[0], found, kinds)
        return found

    def name_of(self, device: str) -> str:
        """As the results have it."""
        return torch.cuda.get_device_name() if device == "cuda" else device

    def _asked(self, engine: Engine, trial: Trial, device: str) -> Way:
        """The engine that is asked for; one by one where this kind cannot be trained so."""
        if engine.way == "stacked":
            why = unstackable(self._job_of(trial), self._data_of(trial, device))
            if why is not None:
                return Way(measured={str(engine): why})
        return Way(engine=engine.name, trials=engine.trials)

    def _measured(self, members: list[Trial], device: str) -> Way:
        trial = members[0]
        seconds = measured(self._job_of(trial), self._data_of(trial, device), len(members))
        engine: Engine = fastest(seconds)
        shown: dict[str, Any] = {
            name: value if isinstance(value, str) else round(MILLI * value, 4)
            for name, value in seconds.items()
        }
        return Way(engine=engine.name, trials=engine.trials, measured=shown)


def own_settings(engine: str) -> set[str]:
    """Settings that each trial of a cohort may have its own of."""
    return set(OWN if Engine(engine).way == "stacked" else FREE)


def batch_of(trial: Trial) -> int:
    """Images a step."""
    return int(trial.settings["batch_size"])


def _like(trial: Trial, found: dict[str, Way], kinds: dict[str, list[Trial]]) -> Way:
    """The way of the kind of this model and optimizer with the batch that is nearest."""
    same = [
        (abs(batch_of(kinds[kind][0]) - batch_of(trial)), kind)
        for kind in found
        if (kinds[kind][0].model, kinds[kind][0].optim) == (trial.model, trial.optim)
    ]
    if not same:
        return Way()
    way = found[min(same)[1]]
    return Way(engine=way.engine, trials=way.trials)
