"""What the options of `stability sweep` ask for: checked in one place, every fault at once."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stability.cli.data_names import images
from stability.cli.model_names import Choices, full_names
from stability.cli.parsing import Faults, intervals_by_optimizer, vary
from stability.data import ImageData
from stability.models import family
from stability.training.recipe import ONLY_FOR, OPTIMIZERS, RANGES_NANO, Recipe, nano
from sweeps.dispatch import EXECUTORS
from sweeps.errors import SpecError
from sweeps.run_directory import RunDirectory, unusable_as_new_folder
from sweeps.sampling import SAMPLERS, grid_levels
from sweeps.space import Hyperparameter
from sweeps.study import Study

OBJECTIVE = "stability.objective:train_images"


@dataclass(frozen=True)
class Options:
    """What shall be trained, as it was typed."""

    model: str
    optim: str
    data: str
    epochs: str
    trials: str
    sampler: str
    seed: str
    lr: list[str]
    weight_decay: list[str]
    vary: list[str]
    stem: str | None = None
    depth: str | None = None
    pool: str | None = None


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where it shall run, as it was typed: none of it decides a result."""

    executor: str = "local"
    workers: str | None = None
    device: str = "auto"
    out: str | None = None
    confirm: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, without a fault."""

    study: Study
    run: RunDirectory
    executor: str
    device: str
    workers: int | None
    """None for as many as there are slots."""
    confirm: int | None = None
    """Fresh seeds for the best of each group; None does not train it again."""


def read(options: Options, where: Where) -> Request:
    """The request that the options make. Raises SpecError with every fault; writes nothing."""
    faults = Faults()
    asked = _asked(faults, options)
    workers, confirm = _workers(faults, where), _confirm(faults, where)
    if not faults.found:
        study = Study(**asked, objective=OBJECTIVE)
        run = RunDirectory(Path(where.out or Path("runs") / study.name))
        faults.found += run.faults(study)
        if not faults.found:
            return Request(
                study=study,
                run=run,
                executor=where.executor,
                device=where.device,
                workers=workers,
                confirm=confirm,
            )
    elif where.out is not None and not RunDirectory(Path(where.out)).exists():
        faults.found += unusable_as_new_folder(Path(where.out))
    raise SpecError(faults.found)


def reopen(path: Path, where: Where) -> Request:
    """The request to go on with a run directory. Raises SpecError, StoreError."""
    faults = Faults()
    workers, confirm = _workers(faults, where), _confirm(faults, where)
    if faults.found:
        raise SpecError(faults.found)
    run = RunDirectory(path)
    return Request(
        study=run.read_study(),
        run=run,
        executor=where.executor,
        device=where.device,
        workers=workers,
        confirm=confirm,
    )


def _confirm(faults: Faults, where: Where) -> int | None:
    return None if where.confirm is None else faults.whole("--confirm", where.confirm, low=2)


def _workers(faults: Faults, where: Where) -> int | None:
    """Check where it shall run; returns the number of workers, None for one a slot."""
    faults.one_of("--executor", where.executor, EXECUTORS)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", where.device):
        faults.add("--device", f"got {where.device!r}, allowed is auto, cpu, cuda or cuda:i")
    if where.workers is None:
        return None
    workers = faults.whole("--workers", where.workers, low=1)
    if where.executor == "inline" and workers not in (None, 1):
        faults.add("--workers", f"got {workers}, inline has one")
    return workers


def _asked(faults: Faults, options: Options) -> dict[str, Any]:
    """Fields of the study; of use only where no fault was found."""
    named, data = images(faults, options.data)
    choices = Choices(stem=options.stem, depth=options.depth, pool=options.pool)
    models = full_names(faults, options.model, choices, data)
    optims = faults.many_of(
        "--optim", options.optim, lambda name: faults.one_of("--optim", name, OPTIMIZERS)
    )
    epochs = faults.many_of("--epochs", options.epochs, lambda text: _epochs(faults, text))
    draws = faults.whole("--trials", options.trials, low=1)
    sampler = faults.one_of("--sampler", options.sampler, SAMPLERS)
    space = [*_ranges(faults, options, models, optims), *_varied(faults, options, optims)]
    _check_batch_sizes(faults, space, data)
    if sampler == "grid" and draws and not faults.found:
        try:
            grid_levels(space, draws)
        except ValueError as error:
            faults.add("--trials", str(error))
    return {
        "models": tuple(models),
        "optims": tuple(optims),
        "epochs": tuple(map(int, epochs)),
        "draws": draws,
        "sampler": sampler,
        "seed": faults.whole("--seed", options.seed, low=0),
        **named,
        "recipe": {optim: _constants(optim, space) for optim in optims},
        "space": tuple(space),
    }


def _epochs(faults: Faults, text: str) -> str | None:
    value = faults.whole("--epochs", text, low=1)
    return None if value is None else str(value)


def _ranges(
    faults: Faults, options: Options, models: list[str], optims: list[str]
) -> list[Hyperparameter]:
    """Lr and weight decay: as asked for, or the ranges of each model's family."""
    asked = {
        "lr": intervals_by_optimizer(faults, "--lr", options.lr, optims),
        "weight_decay": intervals_by_optimizer(
            faults, "--weight-decay", options.weight_decay, optims
        ),
    }
    families = list(dict.fromkeys(map(family, models)))
    space = []
    for name, by_optim in asked.items():
        for optim in optims:
            for kin in families:
                low, high = by_optim.get(optim) or RANGES_NANO[kin, optim][name]
                members = tuple(m for m in models if family(m) == kin)
                # Named only where it matters, so that a study of one kind reads simply.
                space.append(
                    Hyperparameter(
                        name=name,
                        low=low,
                        high=high,
                        models=members if len(families) > 1 and optim not in by_optim else (),
                        optims=(optim,) if len(optims) > 1 else (),
                    )
                )
                if optim in by_optim:
                    break  # one interval for all families
    return space


def _varied(faults: Faults, options: Options, optims: list[str]) -> list[Hyperparameter]:
    space: list[Hyperparameter] = []
    for text in options.vary:
        varied = vary(faults, text)
        if varied is None:
            continue
        owner = ONLY_FOR.get(varied.name)
        if varied.name in (h.name for h in space):
            faults.add(f"--vary {text}", f"{varied.name} is varied twice")
        elif owner is not None and optims and owner not in optims:
            faults.add(
                f"--vary {text}", f"{varied.name} belongs to {owner}, which is not asked for"
            )
        else:
            others = len(optims) > 1 and owner is not None
            space.append(varied.model_copy(update={"optims": (owner,)}) if others else varied)
    return space


def _check_batch_sizes(faults: Faults, space: list[Hyperparameter], data: ImageData | None) -> None:
    """A batch of more images than there are would leave an epoch without a step."""
    if data is None:
        return
    there, usual = len(data.train), Recipe.batch_size
    varied = [h for h in space if h.name == "batch_size"]
    for h in varied:
        largest = max(h.choices or (h.high,), key=lambda value: float(value or 0))
        if largest is not None and float(largest) > there:
            fault = f"got {largest}, {data.name} has {there} training images"
            faults.add("--vary batch_size", fault)
    if not varied and usual > there:
        smaller = "name smaller ones as in --vary batch_size=8,16"
        faults.add("--data", f"{data.name} has {there} training images, a batch {usual}; {smaller}")


def _constants(optim: str, space: list[Hyperparameter]) -> dict[str, Any]:
    """The recipe without what is drawn."""
    drawn = {h.name for h in space}
    return {name: value for name, value in nano(optim).items() if name not in drawn}
