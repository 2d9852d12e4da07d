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
    except Exception as error:  # whatever a stranger's code does
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
    _answer(model, name, torch.zeros(2, *shape))
    model.train(training)


@torch.no_grad()
def check_logits(model: nn.Module, name: str, shape: Shape, classes: int) -> None:
    """Look at what it makes of two images. Raises OwnModelError for anything but their logits."""
    weight = next(model.parameters(), None)
    if weight is None:
        raise OwnModelError(f"{name}: has no parameters to train")
    images = torch.zeros(2, *shape, device=weight.device)
    logits = _answer(model, name, images)
    if not isinstance(logits, Tensor):
        raise OwnModelError(f"{name}: gave a {type(logits).__name__} for images, needed are logits")
    if logits.shape != (2, classes):
        got = tuple(logits.shape)
        raise OwnModelError(
            f"{name}: gave logits of shape {got} for 2 images, needed is {(2, classes)}"
        )


def _answer(model: nn.Module, name: str, images: Tensor) -> Any:
    """What it gives for images, in evaluation mode."""
    try:
        return model.eval()(images)
    except Exception as error:  # whatever a stranger's code does
        raise OwnModelError(f"{name}: {type(error).__name__}: {error}") from error


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
        raise OwnModelError(f"{package} is not installed: pip install {package}") from error
