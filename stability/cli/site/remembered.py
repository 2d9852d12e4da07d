"""How a run directory was dispatched last: what `resume` goes on with."""

from typing import Any

from pydantic import TypeAdapter

from stability.cli.site.cluster import Site
from sweeps.errors import SpecError
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import provenance
from sweeps.store.run_directory import RunDirectory
from sweeps.system.trust import first_writable_by_others
from sweeps.worker.engine import AUTO


def as_written(site: Site) -> dict[str, Any]:
    """What provenance keeps of where a study runs."""
    kept: dict[str, Any] = {
        "executor": site.executor,
        "device": site.device,
        "engine": site.engine,
    }
    if site.executor == "slurm":
        kept["workers"] = site.workers
        options = {key: value for key, value in vars(site.slurm).items() if value is not None}
        kept["slurm"] = {**options, "setup": list(site.slurm.setup)}
    return kept


def check_trusted(run: RunDirectory) -> None:
    """Raises SpecError where somebody else could have written what the study has imported."""
    folders = [folder for folder in (run.path, run.checkpoints) if folder.exists()]
    if who := first_writable_by_others(run.study, *folders):
        raise SpecError(
            [
                f"{who} can be written by others, and what {run.study.name} names is imported: "
                f"read it, then chmod go-w {who} if it is yours, or sweep in a folder of your own"
            ]
        )


def last_site(run: RunDirectory) -> Site | None:
    """Where it was dispatched last; None where that was not on a cluster.

    Its setup lines are run: raises SpecError where somebody else could have written them.
    """
    path = provenance.last_file(run)
    content = provenance.last_dispatch(run)
    if path is None or content.get("executor") != "slurm":
        return None
    if who := first_writable_by_others(path, path.parent, run.path):
        raise SpecError(
            [
                f"{who} can be written by others, so what it says of the cluster is not used: "
                "say --executor and the cluster's options"
            ]
        )
    try:
        slurm = TypeAdapter(SlurmOptions).validate_python(content["slurm"])
        return Site(
            executor="slurm",
            device=str(content["device"]),
            workers=int(content["workers"]),
            slurm=slurm,
            engine=str(content.get("engine", AUTO)),
        )
    except (KeyError, TypeError, ValueError):
        return None
