"""What the options of `stability sweep` ask for: checked in one place, every fault at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stability.cli.cluster import Site, Where, read_site
from stability.cli.data_names import check_unchanged
from stability.cli.gpus import is_gpu_here
from stability.cli.image_study import OBJECTIVE, fields_of_images
from stability.cli.own_study import check_objective, fields_of_objective
from stability.cli.parsing import Faults
from stability.cli.remembered import check_trusted, last_site
from stability.cli.study_file import check_conditions, is_resolved, with_file
from stability.training.recipe import PRECISIONS
from sweeps.errors import SpecError
from sweeps.run_directory import RunDirectory, unusable_as_new_folder
from sweeps.sampling import SAMPLERS, grid_levels
from sweeps.space import Hyperparameter
from sweeps.study import Study

DEFAULTS = {"trials": "64", "sampler": "random", "seed": "0"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What shall be trained, as it was typed; None for what was not."""

    model: str | None = None
    optim: str | None = None
    data: str | None = None
    epochs: str | None = None
    trials: str | None = None
    sampler: str | None = None
    seed: str | None = None
    stem: str | None = None
    depth: str | None = None
    pool: str | None = None
    precision: str | None = None
    objective: str | None = None
    study: Path | None = None
    lr: list[str] = field(default_factory=list)
    weight_decay: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    space: tuple[Hyperparameter, ...] = ()
    """Of a study file."""
    recipe: str | None = None
    """Its name."""
    set: list[str] = field(default_factory=list)
    """Single settings of the recipe."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of a study file: single settings of the recipe."""
    skip_unreadable: bool = False
    """Leave out the images that cannot be read."""

    def with_defaults(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """What was typed for these options, or their defaults."""
        asked = {name: getattr(self, name) for name in defaults}
        return {name: defaults[name] if asked[name] is None else asked[name] for name in defaults}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, without a fault."""

    study: Study
    run: RunDirectory
    site: Site
    confirm: int | None = None
    """Fresh seeds for the best of each group; None does not train it again."""


def read(options: Options, where: Where) -> Request:
    """The request that the options make. Raises SpecError with every fault; writes nothing."""
    faults = Faults()
    site, confirm = read_site(faults, where), _confirm(faults, where)
    study = _study(faults, options, site)
    if study is not None and not faults.found:
        run = RunDirectory(Path(where.out or Path("runs") / study.name))
        faults.found += run.faults(study) + unusable_by_slurm(site, run)
        if not faults.found:
            return Request(study=study, run=run, site=site, confirm=confirm)
    elif where.out is not None and not RunDirectory(Path(where.out)).exists():
        faults.found += unusable_as_new_folder(Path(where.out))
    raise SpecError(faults.found)


def _study(faults: Faults, options: Options, site: Site) -> Study | None:
    """The study that is asked for; None where there is a fault."""
    if options.study is not None and is_resolved(options.study):
        if any(getattr(options, name) for name in vars(options) if name != "study"):
            faults.add("--study", f"{options.study} says everything: no other option beside it")
        return resolved(faults, options.study)
    if options.study is not None:
        options = with_file(faults, options, options.study)
    fields_of = fields_of_images if options.objective is None else fields_of_objective
    fields = fields_of(faults, options)
    asked = options.with_defaults(DEFAULTS)
    fields |= {
        "draws": faults.whole("--trials", asked["trials"], low=1),
        "sampler": faults.one_of("--sampler", asked["sampler"], SAMPLERS),
        "seed": faults.whole("--seed", asked["seed"], low=0),
        "precision": precision(faults, options, site),
    }
    if not faults.found:
        check_conditions(faults, options.space, fields["models"], fields["optims"])
    if fields["sampler"] == "grid" and not faults.found:
        try:
            grid_levels(fields["space"], fields["draws"])
        except ValueError as error:
            faults.add("--trials", str(error))
    return None if faults.found else Study(**fields)


def precision(faults: Faults, options: Options, site: Site) -> str | None:
    """Of the forward pass: what is asked for, else what suits the device."""
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


def resolved(faults: Faults, path: Path) -> Study:
    """The study of a run directory, to be run again. Raises StoreError, SpecError."""
    study = Study.read(path)
    if study.objective == OBJECTIVE:
        check_unchanged(study)
    else:
        check_objective(faults, study.objective)
    return study


def reopen(path: Path, where: Where) -> Request:
    """The request to go on with a run directory. Raises SpecError, StoreError."""
    faults, run = Faults(), RunDirectory(path)
    study = run.read_study()
    check_trusted(run)
    remembered = None if where.executor or where.profile else last_site(run)
    site, confirm = read_site(faults, where, remembered), _confirm(faults, where)
    faults.found += unusable_by_slurm(site, run)
    if faults.found:
        raise SpecError(faults.found)
    return Request(study=study, run=run, site=site, confirm=confirm)


def unusable_by_slurm(site: Site, run: RunDirectory) -> list[str]:
    """Slurm takes a % in the names of its logs for a field of its own."""
    if site.executor == "slurm" and "%" in str(run.path):
        return [f"--out: got {run.path}, on Slurm allowed is a path without %"]
    return []


def _confirm(faults: Faults, where: Where) -> int | None:
    return None if where.confirm is None else faults.whole("--confirm", where.confirm, low=2)
