"""Models from elsewhere: a user's own function, timm's, torchvision's.

    mymodels:tiny          tiny(classes, image_shape) -> nn.Module, image_shape = (C, H, W)
    timm:resnet18          timm.create_model, without pretrained weights
    torchvision:resnet18   torchvision.models.get_model, likewise

They keep the initialisation that they come with, drawn from the trial's seed.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Shape = tuple[int, int, int]


MODES = {False: "evaluation", True: "training"}


class OwnModelError(Exception):
    """A model from elsewhere that cannot be had, or does not do what is needed."""


def own_model(name: str, shape: Shape, classes: int) -> nn.Module:
    """The model that `name` stands for, for images of `shape` (C, H, W).

    Reads torch's global generator, as the function that makes it does.
    Raises OwnModelError where it cannot be imported or made.
    """
    origin, _, rest = name.partition(":")
    make = {"timm": _timm, "torchvision": _torchvision}.get(origin)
    try:
        model = make(rest, shape, classes) if make else _function(origin, rest)(classes, shape)
    except OwnModelError:
        raise
    except (Exception, SystemExit) as error:  # whatever a stranger's code does
        raise OwnModelError(f"{name}: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise OwnModelError(f"{name}: gave a {type(model).__name__}, needed is a torch.nn.Module")
    if any(is_lazy(values) for values in (*model.parameters(), *model.buffers())):
        _filled(model, name, shape)
    return model


@torch.no_grad()
def _filled(model: nn.Module, name: str, shape: Shape) -> None:
    """Lazy layers draw their weights at the first images: here, from the seed of the trial."""
    training = model.training
    model.eval()
    _answer(model, name, torch.zeros(2, *shape))
    model.train(training)


def check_logits(model: nn.Module, name: str, shape: Shape, classes: int) -> None:
    """Look at what it makes of two images, in evaluation and in training mode.

    Raises OwnModelError for anything but logits, one floating-point row an image, that depend on
    parameters which can be trained.
    """
    weight = next((weight for weight in model.parameters() if weight.requires_grad), None)
    if weight is None:
        raise OwnModelError(f"{name}: has no parameters to train")
    images = torch.zeros(2, *shape, device=weight.device)
    for training in (False, True):
        model.train(training)
        with torch.set_grad_enabled(training):
            logits = _answer(model, name, images)
        _check_answer(logits, f"{name}: gave {{}} in {MODES[training]} mode", (2, classes))
    if not logits.requires_grad:
        raise OwnModelError(
            f"{name}: gave logits in training mode that depend on no parameter: return what the "
            "layers compute, without detach() and outside of torch.no_grad()"
        )


def _check_answer(answer: Any, gave: str, needed: tuple[int, int]) -> None:
    what = f"one tensor of logits of shape {needed} for 2 images"
    if not isinstance(answer, Tensor):
        kind = type(answer).__name__
        parts = f" of {len(answer)}" if isinstance(answer, tuple | list | dict) else ""
        raise OwnModelError(
            f"{gave.format(f'a {kind}{parts}')}, needed is {what}: return the logits alone"
        )
    if answer.shape != needed:
        raise OwnModelError(
            f"{gave.format(f'logits of shape {tuple(answer.shape)}')}, needed is {what}"
        )
    if not answer.is_floating_point():
        raise OwnModelError(f"{gave.format(f'{answer.dtype}')}, needed are floating-point numbers")


def _answer(model: nn.Module, name: str, images: Tensor) -> Any:
    """What it gives for images."""
    try:
        return model(images)
    except (Exception, SystemExit) as error:  # whatever a stranger's code does
        mode = MODES[model.training]
        fault = f"{name}: {type(error).__name__} in {mode} mode: {error}"
        raise OwnModelError(fault) from error


def _function(module: str, function: str) -> Callable[[int, Shape], Any]:
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise OwnModelError(f"{module}:{function} cannot be imported: {error}") from error
    try:
        inspect.signature(found).bind(0, (0, 0, 0))
    except TypeError as error:
        raise OwnModelError(
            f"{module}:{function} cannot be called as {function}(classes, image_shape): {error}"
        ) from error
    return found  # type: ignore[no-any-return]


def _timm(name: str, shape: Shape, classes: int) -> Any:
    timm = _installed("timm")
    _look_up("timm", name, timm.list_models())
    settings = {"num_classes": classes, "in_chans": shape[0], "pretrained": False}
    try:  # transformers need the size, convolutional networks refuse it
        return timm.create_model(name, **settings, img_size=shape[1:])
    except TypeError:
        return timm.create_model(name, **settings)


def _torchvision(name: str, shape: Shape, classes: int) -> Any:
    models = _installed("torchvision").models
    _look_up("torchvision", name, models.list_models(module=models))
    if shape[0] != 3:
        raise OwnModelError(f"torchvision:{name} takes 3 channels, the images have {shape[0]}")
    return models.get_model(name, weights=None, num_classes=classes)


def _look_up(collection: str, name: str, names: list[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise OwnModelError(f"{collection} has no model {name!r}{hint}")


def _installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        missing = getattr(error, "name", None) or ""
        if missing == package:
            fault = f"{package} is not installed: pip install {package}"
        elif isinstance(error, ModuleNotFoundError) and missing:
            needed = missing.partition(".")[0]
            fault = f"{package} needs {needed}, which is not installed: pip install {needed}"
        else:
            fault = f"{package} cannot be imported: {error}"
        raise OwnModelError(fault) from error
