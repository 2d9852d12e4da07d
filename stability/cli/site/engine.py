"""Whether a study can be trained here as it is asked for, and how it is trained, in words."""

from stability.cli.site.cluster import Site
from stability.cli.study.image_study import OBJECTIVE
from stability.cli.study.request import Request
from stability.training.engines.names import Engine, device_fault, parse_engine
from sweeps.errors import SpecError
from sweeps.store import claims
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Study
from sweeps.worker import engine
from sweeps.worker.engine import AUTO, EngineDecision, EnginePlan


def check_engine(request: Request, device: str, *, begun: bool) -> None:
    """Raises SpecError with every reason why the study cannot be trained so on `cpu` or `cuda`.

    `begun`: whether a trial is trained.
    """
    faults = unusable_engine(request.study, request.site, device)
    faults = faults or conflicting_engine(request.run, request.site, device, begun=begun)
    if faults:
        raise SpecError(faults)


def unusable_engine(study: Study, site: Site, device: str) -> list[str]:
    """Why engine or precision cannot be had on `device`, `cpu` or `cuda`, whatever was before."""
    faults = []
    if study.precision != "float32" and device == "cpu":
        faults.append(
            f"--precision: got {study.precision}, it needs a GPU, and the trials would run on cpu: "
            "--precision float32 makes a study for it"
        )
    if site.engine != AUTO:
        if study.objective != OBJECTIVE:
            faults.append(f"--engine: got {site.engine}, with --objective the function trains")
        elif why := device_fault(parse_engine(site.engine), device):
            faults.append(f"--engine: {why}; allowed here are auto, eager and stacked")
    return faults


def conflicting_engine(run: RunDirectory, site: Site, device: str, *, begun: bool) -> list[str]:
    """Why the study cannot go on so; `begun`: whether a trial is trained. Raises StoreError."""
    settled = engine.read_engine_file(run.engine)
    if settled is None or not (begun or claims.living_workers(run)):
        return []
    faults = []
    if settled.device != device:
        faults.append(f"--device: {engine.device_mismatch(settled, device)}")
    ways = engines_of(settled)
    if site.engine not in (AUTO, settled.asked, *ways) or (site.engine in ways and len(ways) > 1):
        faults.append(
            f"--engine: got {site.engine}, the study is trained by {' and '.join(ways)} since its "
            "first trial: allowed is auto, which stays with that"
        )
    return faults


def engines_of(settled: EngineDecision) -> list[str]:
    """As they are typed."""
    ways = (str(Engine(way.engine, way.trials)) for way in settled.ways.values() or [EnginePlan()])
    return list(dict.fromkeys(ways))


def engine_in_words(run: RunDirectory) -> list[str]:
    """Lines that say how the trials are trained; none where that is one by one, on a CPU."""
    settled = engine.read_engine_file(run.engine)
    return engine.describe_engine(settled) if settled is not None and settled.is_special else []


def spared_in_words(spared: float | None) -> list[str]:
    """A line that says what share of the compute was saved; none where that is nothing.

    >>> spared_in_words(0.25)
    ['25.0% of the epochs of trials trained as one were not computed: these had diverged']
    """
    if not spared or spared < 0.0005:
        return []
    words = "of the epochs of trials trained as one were not computed: these had diverged"
    return [f"{spared:.1%} {words}"]
