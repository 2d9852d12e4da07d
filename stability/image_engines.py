"""Engines of the objective of image studies: which trials are alike, which engine is fastest."""

from collections.abc import Callable, Hashable, Sequence

import torch

from stability.models.names import is_external
from stability.training.engines.captured import GRAPH_FREE_SETTINGS, graph_kind
from stability.training.engines.choice import (
    Cost,
    Measurement,
    Workload,
    error_line,
    measure_engines,
    spoils_process,
    unusable_reason,
)
from stability.training.engines.names import Engine, device_fault, fastest, parse_engine
from stability.training.engines.stackable import PER_TRIAL_SETTINGS
from stability.training.engines.train_with import KINDS_KEPT
from stability.training.loop import Job, steps_per_epoch
from stability.training.precision import exact_float32
from stability.training.tensors import TensorData
from sweeps.errors import ExecutorError
from sweeps.study.trial import Trial, canonical_json
from sweeps.worker.engine import AUTO, ONE_BY_ONE, EnginePlan, Engines

MEASURED_KINDS = 8  # a study that draws batch sizes may have hundreds; a kind takes some seconds
MILLI = 1e3
SPOILT = "not tried: a graph of another kind failed"


class ImageEngines(Engines):
    """Of trials that `stability.training` trains."""

    def __init__(
        self,
        job_of: Callable[[Trial], Job],
        data_of: Callable[[Trial, str], TensorData],
    ) -> None:
        self._job_of, self._data_of = job_of, data_of
        self._is_spoilt = False

    def kind(self, trial: Trial) -> str:
        """Model, optimizer, batch."""
        return f"{trial.model}, {trial.optim}, batch {batch_of(trial)}"

    def cohort_key(self, trial: Trial, engine: str) -> Hashable:
        """Model, optimizer, length, and the settings that shape the computation."""
        own = PER_TRIAL_SETTINGS if Engine(engine).base == "stacked" else GRAPH_FREE_SETTINGS
        settings = {name: value for name, value in trial.settings.items() if name not in own}
        return trial.model, trial.optim, trial.epochs, trial.fingerprint, canonical_json(settings)

    def ways(self, trials: Sequence[Trial], device: str, asked: str) -> dict[str, EnginePlan]:
        """By kind, in the order of the design. Where many kinds are, the first few are measured.

        Raises ExecutorError where the engine that is asked for cannot be used on this device.
        """
        if asked == AUTO and device == "cpu":
            return {}  # one by one, a core each, is what is fastest there: docs/engines.md
        if device == "cuda":
            exact_float32()
        kinds: dict[str, list[Trial]] = {}
        for trial in trials:
            kinds.setdefault(self.kind(trial), []).append(trial)
        if asked != AUTO:
            engine = parse_engine(asked)
            if why := device_fault(engine, device):
                raise ExecutorError(f"--engine: {why}")
            return {kind: self._asked(engine, kinds[kind][0], device) for kind in kinds}
        first = dict(list(kinds.items())[:MEASURED_KINDS])
        chosen = self._chosen(first, device, keeps_graphs=self._graphs(kinds) <= KINDS_KEPT)
        return {
            kind: chosen[kind] if kind in chosen else _similar_plan(members[0], chosen, kinds)
            for kind, members in kinds.items()
        }

    @property
    def is_spoilt(self) -> bool:
        """Whether a graph failed in this process."""
        return self._is_spoilt

    def name_of(self, device: str) -> str:
        """As the results have it."""
        return torch.cuda.get_device_name() if device == "cuda" else device

    def _asked(self, engine: Engine, trial: Trial, device: str) -> EnginePlan:
        """The engine that is asked for; one by one where this kind cannot be trained so."""
        plan, why = EnginePlan(engine=engine.name, trials=engine.trials), None
        if engine.base == ONE_BY_ONE:
            return plan
        if self._is_spoilt:
            return EnginePlan(measured={str(engine): SPOILT}) if is_external(trial.model) else plan
        job, data = self._job_of(trial), self._data_of(trial, device)
        try:
            why = unusable_reason(engine, job, data)
        except Exception as error:  # whatever a stranger's code does in a capture
            why, self._is_spoilt = error_line(error), spoils_process(error)
        return plan if why is None else EnginePlan(measured={str(engine): why})

    def _graphs(self, kinds: dict[str, list[Trial]]) -> int:
        """How many the study needs, counted to just above `KINDS_KEPT` for each kind.

        More than one of a kind where settings are drawn that a graph holds.
        """
        few = (trial for members in kinds.values() for trial in members[: KINDS_KEPT + 1])
        return len({graph_kind(self._job_of(trial)) for trial in few})

    def _chosen(
        self, kinds: dict[str, list[Trial]], device: str, *, keeps_graphs: bool
    ) -> dict[str, EnginePlan]:
        """By measurement. `keeps_graphs`: of `Workload`.

        After a graph that failed nothing can be measured: models from elsewhere come last.
        """
        plans: dict[str, EnginePlan] = {}
        for kind in sorted(kinds, key=lambda kind: is_external(kinds[kind][0].model)):
            if self._is_spoilt:
                plans[kind] = EnginePlan(measured={"captured": SPOILT})
                continue
            trial, trials = kinds[kind][0], len(kinds[kind])
            job, data = self._job_of(trial), self._data_of(trial, device)
            epochs = sum(member.epochs for member in kinds[kind]) / trials
            steps = max(1, round(epochs * steps_per_epoch(job, data)))
            workload = Workload(trials=trials, steps=steps, keeps_graphs=keeps_graphs)
            found = measure_engines(job, data, workload)
            self._is_spoilt = found.is_spoilt
            plans[kind] = _fastest_plan(found, steps)
        return plans


def _fastest_plan(found: Measurement, steps: int) -> EnginePlan:
    """The engine that takes the least time for trials of `steps` steps."""
    costs = {name: cost for name, cost in found.costs.items() if isinstance(cost, Cost)}
    engine = fastest({name: cost.seconds(steps) for name, cost in costs.items()})
    shown: dict[str, float | str] = {
        name: cost if isinstance(cost, str) else round(MILLI * cost.step, 4)
        for name, cost in found.costs.items()
    }
    beside = {name: round(cost.beside, 4) for name, cost in costs.items()}
    return EnginePlan(engine=engine.name, trials=engine.trials, measured=shown, beside=beside)


def batch_of(trial: Trial) -> int:
    """Images a step."""
    return int(trial.settings["batch_size"])


def _similar_plan(
    trial: Trial, found: dict[str, EnginePlan], kinds: dict[str, list[Trial]]
) -> EnginePlan:
    """The plan of the kind of this model and optimizer with the nearest batch size."""
    same = [
        (abs(batch_of(kinds[kind][0]) - batch_of(trial)), kind)
        for kind in found
        if (kinds[kind][0].model, kinds[kind][0].optim) == (trial.model, trial.optim)
    ]
    if not same:
        return EnginePlan()
    plan = found[min(same)[1]]
    return EnginePlan(engine=plan.engine, trials=plan.trials)
