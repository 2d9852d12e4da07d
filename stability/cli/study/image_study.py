"""The study of images that the options ask for: models, optimizers, data and ranges."""

from typing import Any

from stability.cli.study.data_names import load_images
from stability.cli.study.model_names import ViTChoices, full_names
from stability.cli.study.options import IMAGE_OBJECTIVE, StudyOptions
from stability.cli.study.parsing import FaultList, intervals_by_optimizer
from stability.cli.study.recipe_choice import ChosenRecipe, chosen_recipe
from stability.cli.study.vary import setting_law
from stability.data import ImageData
from stability.models import family_of
from stability.models.names import is_external
from stability.training.settings import ONLY_FOR, OPTIMIZERS, SETTING_RANGES, setting_fault
from sweeps.study.space import Hyperparameter
from sweeps.words import count

IMAGE_DEFAULTS = {"model": "vitp,vitc", "optim": "adamw", "data": "digits", "epochs": "5"}

Space = list[Hyperparameter]


def fields_of_images(faults: FaultList, options: StudyOptions) -> dict[str, Any]:
    """Fields of a study of images; meaningless where a fault was found."""
    asked = options.with_defaults(IMAGE_DEFAULTS)
    named, data = load_images(faults, asked["data"], skip_unreadable=options.skip_unreadable)
    choices = ViTChoices(stem=options.stem, depth=options.depth, pool=options.pool)
    models = full_names(faults, asked["model"], choices, data)
    optims = faults.many_of(
        "--optim", asked["optim"], lambda name: faults.one_of("--optim", name, OPTIMIZERS)
    )
    _check_space(faults, options)
    varied = _varied(faults, options, optims)
    drawn = {h.name: h.optims for h in (*varied, *options.space)}
    chosen = chosen_recipe(faults, options, data, drawn)
    given = {h.name for h in options.space} | chosen.own.keys()
    space = [
        *(h for h in _ranges(faults, options, chosen, models, optims) if h.name not in given),
        *varied,
        *options.space,
    ]
    epochs = faults.lengths("--epochs", asked["epochs"])
    recipe = {optim: chosen.constants(optim) for optim in optims}
    _check_batch_sizes(faults, recipe, space, data)
    _check_warmup(faults, recipe, epochs)
    if models and optims and not space and not faults.found:
        faults.add("recipe", "lr and weight_decay are set, so that nothing is drawn")
    return {
        "models": tuple(models),
        "optims": tuple(optims),
        "epochs": epochs,
        **named,
        "recipe": recipe,
        "model_settings": chosen.by_model(models, optims),
        "space": tuple(space),
        "objective": IMAGE_OBJECTIVE,
        "origin": chosen.origin(lr_is_ours=not options.lr and "lr" not in given),
    }


def _check_space(faults: FaultList, options: StudyOptions) -> None:
    """Check names and values in the space of a study file."""
    for h in options.space:
        if faults.one_of("space", h.name, SETTING_RANGES):
            for value in h.choices or (h.low, h.high):
                if fault := setting_fault(h.name, value):
                    faults.add("space", fault)


def _ranges(
    faults: FaultList,
    options: StudyOptions,
    chosen: ChosenRecipe,
    models: list[str],
    optims: list[str],
) -> Space:
    """Lr and weight decay, with the typed ranges or those of each model's family."""
    asked = {
        "lr": intervals_by_optimizer(faults, "--lr", options.lr, optims),
        "weight_decay": intervals_by_optimizer(
            faults, "--weight-decay", options.weight_decay, optims
        ),
    }
    families = list(dict.fromkeys(map(_family, models)))
    space = []
    for name, by_optim in asked.items():
        for optim in optims:
            for kin in families:
                members = tuple(m for m in models if _family(m) == kin)
                ends = by_optim.get(optim) or chosen.ranges(kin, optim).get(name)
                if ends is None:
                    _add_missing_range(faults, options, chosen, name, members)
                    continue
                # Named only where it matters, so that a study of one kind reads simply.
                space.append(
                    Hyperparameter(
                        name=name,
                        low=ends[0],
                        high=ends[1],
                        models=members if len(families) > 1 and optim not in by_optim else (),
                        optims=(optim,) if len(optims) > 1 else (),
                    )
                )
                if optim in by_optim:
                    break  # one interval for all families
    return space


def _family(model: str) -> str:
    """Key of a model's ranges; imported models have none."""
    return "own" if is_external(model) else family_of(model)


def _add_missing_range(
    faults: FaultList,
    options: StudyOptions,
    chosen: ChosenRecipe,
    name: str,
    members: tuple[str, ...],
) -> None:
    if name in chosen.own or name in (h.name for h in options.space) or not chosen.name:
        return
    option = f"--{name.replace('_', '-')}"
    why = f"got {', '.join(members)}, without a range of their own"
    if not any(is_external(member) for member in members):
        why = f"that of the recipe {chosen.name} depends on batch_size, which varies"
    fault = f"{option}: {why}: give {option} LO:HI"
    if fault not in faults.found:
        faults.found.append(fault)


def _varied(faults: FaultList, options: StudyOptions, optims: list[str]) -> Space:
    space: Space = []
    for text in options.vary:
        varied = setting_law(faults, text)
        if varied is None:
            continue
        owner = ONLY_FOR.get(varied.name)
        if varied.name in (h.name for h in [*space, *options.space]):
            faults.add(f"--vary {text}", f"{varied.name} is varied twice")
        elif owner is not None and optims and owner not in optims:
            faults.add(
                f"--vary {text}", f"{varied.name} belongs to {owner}, which is not asked for"
            )
        else:
            others = len(optims) > 1 and owner is not None
            space.append(varied.model_copy(update={"optims": (owner,)}) if others else varied)
    return space


def _check_batch_sizes(
    faults: FaultList, recipe: dict[str, dict[str, Any]], space: Space, data: ImageData | None
) -> None:
    """Check that an epoch has at least one batch."""
    if data is None:
        return
    there = len(data.train)
    usual = next(iter(recipe.values()), {}).get("batch_size")
    for h in (h for h in space if h.name == "batch_size"):
        largest = max(h.choices or (h.high,), key=lambda value: float(value or 0))
        if largest is not None and float(largest) > there:
            fault = f"got {largest}, {data.name} has {count(there, 'training image')}"
            faults.add("--vary batch_size", fault)
    if isinstance(usual, int) and usual > there:
        smaller = "name a smaller one as in --set batch_size=16"
        faults.add(
            "--data",
            f"{data.name} has {count(there, 'training image')}, a batch {usual}; {smaller}",
        )


def _check_warmup(
    faults: FaultList, recipe: dict[str, dict[str, Any]], epochs: tuple[int, ...]
) -> None:
    """Check that each schedule is longer than its warm-up."""
    warmup = next(iter(recipe.values()), {}).get("warmup_epochs")
    if (
        warmup
        and setting_fault("warmup_epochs", warmup) is None
        and epochs
        and min(epochs) <= warmup
    ):
        length = count(float(warmup), "epoch")
        fault = f"got {min(epochs)}, the learning rate climbs for {length}: take more"
        faults.add("--epochs", f"{fault}, or --set warmup=0.1, a share of them")
