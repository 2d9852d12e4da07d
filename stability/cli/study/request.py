"""From the options of `stability sweep` to a checked request, with every fault at once."""

from dataclasses import dataclass
from pathlib import Path

from stability.cli.site.cluster import Site, SiteOptions, read_site
from stability.cli.site.gpus import is_gpu_here
from stability.cli.site.remembered import check_trusted, last_site
from stability.cli.study.code import IfChanged
from stability.cli.study.data_names import check_unchanged
from stability.cli.study.image_study import fields_of_images
from stability.cli.study.options import IMAGE_OBJECTIVE, STUDY_DEFAULTS, StudyOptions
from stability.cli.study.own_study import check_objective, fields_of_objective
from stability.cli.study.parsing import FaultList
from stability.cli.study.study_file import check_conditions, is_resolved, with_file
from stability.cli.study.unit import is_own_objective, read_unit, with_unit_there
from stability.training.settings import PRECISIONS
from sweeps.errors import SpecError
from sweeps.store.run_directory import RunDirectory, unusable_as_new_folder
from sweeps.study.sampling import SAMPLERS, grid_levels
from sweeps.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be trained, where, and how to go on: the checked options."""

    study: Study
    run: RunDirectory
    site: Site
    confirm: int | None = None
    """Number of new seeds for the selected run of each group; None does not retrain it."""
    if_changed: IfChanged = "stop"


def read_request(options: StudyOptions, site_options: SiteOptions) -> Request:
    """Check the options. Raises SpecError with every fault; writes nothing."""
    faults = FaultList()
    site, confirm = read_site(faults, site_options), _confirm(faults, site_options)
    study = _study(faults, options, site)
    if study is not None and not faults.found:
        run = RunDirectory(Path(site_options.out or Path("runs") / study.name))
        study = with_unit_there(study, run)
        faults.found += run.faults(study) + unusable_by_slurm(site, run)
        if not faults.found:
            return Request(study=study, run=run, site=site, confirm=confirm)
    elif site_options.out is not None and not RunDirectory(Path(site_options.out)).exists():
        faults.found += unusable_as_new_folder(Path(site_options.out))
    raise SpecError(faults.found)


def _study(faults: FaultList, options: StudyOptions, site: Site) -> Study | None:
    """Build the study; None where there is a fault."""
    if options.study is not None and is_resolved(options.study):
        may_be = ("study", "unit", "within")
        if any(getattr(options, name) for name in vars(options) if name not in may_be):
            faults.add("--study", f"{options.study} says everything: no other option beside it")
        study = resolved(faults, options.study)
        named = read_unit(
            faults, options.unit, options.within, is_own=is_own_objective(study.objective)
        )
        return None if faults.found else named.of(study)
    if options.study is not None:
        options = with_file(faults, options, options.study)
    fields_of = fields_of_images if options.objective is None else fields_of_objective
    fields = fields_of(faults, options)
    asked = options.with_defaults(STUDY_DEFAULTS)
    fields |= {
        "draws": faults.whole("--draws", asked["draws"], low=1),
        "sampler": faults.one_of("--sampler", asked["sampler"], SAMPLERS),
        "seed": faults.whole("--seed", asked["seed"], low=0),
        "precision": precision(faults, options, site),
    }
    named = read_unit(
        faults, options.unit, options.within, is_own=is_own_objective(options.objective)
    )
    if not faults.found:
        check_conditions(faults, options.space, fields["models"], fields["optims"])
    if fields["sampler"] == "grid" and not faults.found:
        try:
            grid_levels(fields["space"], fields["draws"])
        except ValueError as error:
            faults.add("--draws", str(error))
    return None if faults.found else named.of(Study(**fields))


def precision(faults: FaultList, options: StudyOptions, site: Site) -> str | None:
    """Precision of the forward pass: as asked for, else what suits the device."""
    asked = options.precision or "auto"
    if options.objective is not None:
        if options.precision is not None:
            faults.add("--precision", "with --objective it is the function's own affair")
        return "float32"
    if (found := faults.one_of("--precision", asked, ("auto", *PRECISIONS))) != "auto":
        if found == "bfloat16" and site.device == "cpu":
            faults.add("--precision", "got bfloat16 with --device cpu, it needs a GPU: float32")
        return found
    on_gpu = is_gpu_here() if site.device == "auto" else site.device != "cpu"
    return "bfloat16" if on_gpu else "float32"


def resolved(faults: FaultList, path: Path) -> Study:
    """Read the study of a run directory, to run it again. Raises StoreError, SpecError."""
    study = Study.read(path)
    if study.objective == IMAGE_OBJECTIVE:
        check_unchanged(study)
    else:
        check_objective(faults, study.objective)
    return study


def reopen_request(
    path: Path, site_options: SiteOptions, unit: str | None = None, within: str | None = None
) -> Request:
    """Make the request that resumes a run directory. Raises SpecError, StoreError."""
    faults, run = FaultList(), RunDirectory(path)
    study = run.read_study()
    check_trusted(run)
    remembered = None if site_options.executor or site_options.profile else last_site(run)
    site, confirm = read_site(faults, site_options, remembered), _confirm(faults, site_options)
    faults.found += unusable_by_slurm(site, run)
    named = read_unit(faults, unit, within, is_own=is_own_objective(study.objective))
    if not faults.found:
        asked = named.of(study)
        faults.found += asked.differences(study)
    if faults.found:
        raise SpecError(faults.found)
    return Request(study=asked, run=run, site=site, confirm=confirm)


def unusable_by_slurm(site: Site, run: RunDirectory) -> list[str]:
    """A fault for a path with %, which Slurm replaces in the names of its logs."""
    if site.executor == "slurm" and "%" in str(run.path):
        return [f"--out: got {run.path}, on Slurm allowed is a path without %"]
    return []


def _confirm(faults: FaultList, site_options: SiteOptions) -> int | None:
    return (
        None
        if site_options.confirm is None
        else faults.whole("--confirm", site_options.confirm, low=2)
    )
