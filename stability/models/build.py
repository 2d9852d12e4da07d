"""From a name to an initialised module."""

import torch
from torch import nn

from stability.models.init import init_weights
from stability.models.names import config_of, is_external
from stability.models.own import own_model
from stability.models.regnet import RegNet
from stability.models.resnet import ResNet
from stability.models.variants import Config, RegNetConfig, ViTConfig
from stability.models.vit import ViT


def build(  # noqa: PLR0913 - all that decides the weights of a model
    name: str | Config,
    *,
    channels: int,
    classes: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    image: tuple[int, int] | None = None,
    stem_init: str = "main",
    revision: int = 1,
) -> nn.Module:
    """The model `name` with fresh weights drawn from `generator` (a CPU generator).

    Takes images (B, channels, image, image), gives logits (B, classes). The weights are drawn on
    the CPU and then moved, so that a seed means the same weights on every device.
    `image` is the height and width of the images, for external models.
    `stem_init` and `revision`: of `init_weights`. Their defaults are those of `Recipe`.
    Raises ModelNameError, a KeyError, for a name that is no model's, OwnModelError for a model
    from elsewhere that cannot be made.
    """
    if isinstance(name, str) and is_external(name):
        return _placed(_own(name, channels, image or (0, 0), classes, generator), device)
    config = config_of(name) if isinstance(name, str) else name
    # torch initialises each layer from its global generator; that is put back as it was, and
    # every weight is drawn anew. (Building on `meta` would load 500 modules, 0.6 s a process.)
    with torch.random.fork_rng(devices=[]):
        model = assemble(config, channels, classes)
    init_weights(model, generator, stem_init=stem_init, revision=revision)
    return _placed(model, device)


def _own(
    name: str, channels: int, image: tuple[int, int], classes: int, generator: torch.Generator
) -> nn.Module:
    """A model from elsewhere, with its own initialisation, which reads the global generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return own_model(name, (channels, *image), classes)


def _placed(model: nn.Module, device: torch.device | str) -> nn.Module:
    if torch.device(device).type == "cpu":
        # A third less time per step for RegNetY, a tenth for the conv stem. On GPUs channels-last
        # has been seen to slow RegNetY down.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)


def assemble(config: Config, channels: int, classes: int) -> nn.Module:
    """The layers that the configuration describes, with weights that mean nothing."""
    if isinstance(config, ViTConfig):
        return ViT(config, channels, classes)
    if isinstance(config, RegNetConfig):
        return RegNet(config, channels, classes)
    return ResNet(config, channels, classes)
