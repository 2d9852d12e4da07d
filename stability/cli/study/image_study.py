"""What is asked for as a study of images: models, optimizers, data and ranges of this package."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stability.cli.study.data_names import images
from stability.cli.study.model_names import Choices, full_names
from stability.cli.study.parsing import Faults, intervals_by_optimizer, vary
from stability.cli.study.recipe_choice import Choice, chosen_recipe
from stability.data import ImageData
from stability.models import family_of
from stability.models.names import is_external
from stability.training.settings import ONLY_FOR, OPTIMIZERS, SETTING_RANGES, setting_fault
from sweeps.study.space import Hyperparameter

if TYPE_CHECKING:
    from stability.cli.study.request import Options

OBJECTIVE = "stability.objective:train_images"
DEFAULTS = {"model": "vitp,vitc", "optim": "adamw", "data": "digits", "epochs": "5"}

Space = list[Hyperparameter]


def fields_of_images(faults: Faults, options: "Options") -> dict[str, Any]:
    """Fields of the study that images decide; of use only where no fault was found."""
    asked = options.with_defaults(DEFAULTS)
    named, data = images(faults, asked["data"], skip_unreadable=options.skip_unreadable)
    choices = Choices(stem=options.stem, depth=options.depth, pool=options.pool)
    models = full_names(faults, asked["model"], choices, data)
    optims = faults.many_of(
        "--optim", asked["optim"], lambda name: faults.one_of("--optim", name, OPTIMIZERS)
    )
    _check_space(faults, options)
    varied = _varied(faults, options, optims)
    drawn = {h.name: h.optims for h in (*varied, *options.space)}
    choice = chosen_recipe(faults, options, data, drawn)
    given = {h.name for h in options.space} | choice.own.keys()
    space = [
        *(h for h in _ranges(faults, options, choice, models, optims) if h.name not in given),
        *varied,
        *options.space,
    ]
    epochs = faults.lengths("--epochs", asked["epochs"])
    recipe = {optim: choice.constants(optim) for optim in optims}
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
        "model_settings": choice.by_model(models, optims),
        "space": tuple(space),
        "objective": OBJECTIVE,
        "origin": choice.origin(lr_is_ours=not options.lr and "lr" not in given),
    }


def _check_space(faults: Faults, options: "Options") -> None:
    """Names and values in the space of a study file."""
    for h in options.space:
        if faults.one_of("space", h.name, SETTING_RANGES):
            _check_values(faults, "space", h.name, h.choices or (h.low, h.high))


def _check_values(faults: Faults, where: str, name: str, values: Iterable[Any]) -> None:
    for fault in filter(None, (setting_fault(name, value) for value in values)):
        faults.add(where, fault)


def _ranges(
    faults: Faults, options: "Options", choice: Choice, models: list[str], optims: list[str]
) -> Space:
    """Lr and weight decay: as asked for, or the ranges of each model's family."""
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
                ends = by_optim.get(optim) or choice.ranges(kin, optim).get(name)
                if ends is None:
                    _say_missing(faults, options, choice, name, members)
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
    """Key of a model's ranges; a model from elsewhere has none."""
    return "own" if is_external(model) else family_of(model)


def _say_missing(
    faults: Faults, options: "Options", choice: Choice, name: str, members: tuple[str, ...]
) -> None:
    if name in choice.own or name in (h.name for h in options.space) or not choice.name:
        return
    option = f"--{name.replace('_', '-')}"
    why = f"got {', '.join(members)}, without a range of their own"
    if not any(is_external(member) for member in members):
        why = f"that of the recipe {choice.name} hangs on batch_size, which varies"
    fault = f"{option}: {why}: give {option} LO:HI"
    if fault not in faults.found:
        faults.found.append(fault)


def _varied(faults: Faults, options: "Options", optims: list[str]) -> Space:
    space: Space = []
    for text in options.vary:
        varied = vary(faults, text)
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
    faults: Faults, recipe: dict[str, dict[str, Any]], space: Space, data: ImageData | None
) -> None:
    """A batch of more images than there are would leave an epoch without a step."""
    if data is None:
        return
    there = len(data.train)
    usual = next(iter(recipe.values()), {}).get("batch_size")
    for h in (h for h in space if h.name == "batch_size"):
        largest = max(h.choices or (h.high,), key=lambda value: float(value or 0))
        if largest is not None and float(largest) > there:
            fault = f"got {largest}, {data.name} has {there} training images"
            faults.add("--vary batch_size", fault)
    if isinstance(usual, int) and usual > there:
        smaller = "name a smaller one as in --set batch_size=16"
        faults.add("--data", f"{data.name} has {there} training images, a batch {usual}; {smaller}")


def _check_warmup(
    faults: Faults, recipe: dict[str, dict[str, Any]], epochs: tuple[int, ...]
) -> None:
    """A schedule must be longer than its warm-up."""
    warmup = next(iter(recipe.values()), {}).get("warmup_epochs")
    if (
        warmup
        and setting_fault("warmup_epochs", warmup) is None
        and epochs
        and min(epochs) <= warmup
    ):
        fault = f"got {min(epochs)}, the learning rate climbs for {warmup:g} epochs: take more"
        faults.add("--epochs", f"{fault}, or --set warmup=0.1, a share of them")
