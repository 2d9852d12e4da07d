"""Whether the engine that is asked for can train a study here, and which one trains it."""

from stability.cli.site.cluster import Site
from stability.cli.study.options import IMAGE_OBJECTIVE
from stability.cli.study.request import Request
from stability.training.engines.names import Engine, device_fault, parse_engine
from sweeps.errors import SpecError
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Study
from sweeps.worker import engine
from sweeps.worker.engine import AUTO, EngineDecision, EnginePlan


def check_engine(request: Request, device: str, *, begun: bool) -> None:
    """Check that the study can be trained with this engine on `device`, `cpu` or `cuda`.

    `begun`: whether a trial is trained. Raises SpecError with every reason against it.
    """
    faults = unusable_engine(request.study, request.site, device)
    faults = faults or conflicting_engine(request.run, request.site, device, begun=begun)
    if faults:
        raise SpecError(faults)


def unusable_engine(study: Study, site: Site, device: str) -> list[str]:
    """Why `device`, `cpu` or `cuda`, cannot have the engine or the precision; empty if it can."""
    faults = []
    if study.precision != "float32" and device == "cpu":
        faults.append(
            f"--precision: got {study.precision}, it needs a GPU, and the trials would run on cpu: "
            "--precision float32 makes a study for it"
        )
    if site.engine != AUTO:
        if study.objective != IMAGE_OBJECTIVE:
            faults.append(f"--engine: got {site.engine}, with --objective the function trains")
        elif why := device_fault(parse_engine(site.engine), device):
            faults.append(f"--engine: {why}; allowed here are auto, eager and stacked")
    return faults


def conflicting_engine(run: RunDirectory, site: Site, device: str, *, begun: bool) -> list[str]:
    """Why trials that exist forbid this engine or device; empty if none do. Raises StoreError."""
    decision = engine.read_engine_file(run.engine)
    if decision is None or not (begun or claims.living_workers(run)):
        return []
    faults = []
    if decision.device != device:
        faults.append(f"--device: {engine.device_mismatch(decision, device)}")
    names = engine_names(decision)
    is_one_of_several = site.engine in names and len(names) > 1
    if is_one_of_several or site.engine not in (AUTO, decision.asked, *names):
        faults.append(
            f"--engine: got {site.engine}, the study is trained by {' and '.join(names)} since its "
            "first trial: allowed is auto, which stays with that"
        )
    return faults


def engine_names(decision: EngineDecision) -> list[str]:
    """Names of the engines that were chosen, as they are typed."""
    plans = decision.ways.values() or [EnginePlan()]
    return list(dict.fromkeys(str(Engine(plan.engine, plan.trials)) for plan in plans))


def describe_engine(run: RunDirectory) -> list[str]:
    """Lines that say which engine trains; none for trials one by one on a CPU."""
    decision = engine.read_engine_file(run.engine)
    return engine.describe_engine(decision) if decision is not None and decision.is_special else []


def describe_spared(spared: float | None) -> list[str]:
    """A line that says what share of the compute was saved; none if nothing was.

    >>> describe_spared(0.25)
    ['25.0% of the epochs of trials trained as one were not computed: these had diverged']
    """
    if not spared or spared < 0.0005:
        return []
    words = "of the epochs of trials trained as one were not computed: these had diverged"
    return [f"{spared:.1%} {words}"]
