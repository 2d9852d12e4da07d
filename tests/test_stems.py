"""The two stems are the paper's: a patch convolution, and stacked 3x3 convolutions with norms."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stability.models import VARIANTS, ViTConfig
from stability.models.stems import Patchify, build_stem

VITS = {name: config for name, config in VARIANTS.items() if isinstance(config, ViTConfig)}
each_conv_stem = pytest.mark.parametrize(
    "config", [pytest.param(c, id=n) for n, c in VITS.items() if c.stem == "conv"]
)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", VITS)
def test_a_stem_makes_a_token_of_each_patch(name: str, channels: int) -> None:
    config = VITS[name]
    grid = config.image // config.patch
    images = torch.zeros(2, channels, config.image, config.image)
    assert build_stem(config, channels)(images).shape == (2, config.width, grid, grid)


def test_the_first_letter_of_the_name_says_which_stem() -> None:
    for name, config in VITS.items():
        assert config.stem == {"vitp": "patchify", "vitc": "conv"}[name.split("-")[0]]


def test_patchify_stem_is_one_convolution_whose_kernel_is_its_stride() -> None:
    for config in VITS.values():
        if config.stem == "patchify":
            stem = build_stem(config, channels=1)
            assert stem.kernel_size == stem.stride == (config.patch, config.patch)
            assert stem.bias is not None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
def test_patchify_is_the_convolution_of_the_same_weights(
    channels: int, layout: torch.memory_format
) -> None:
    ours = Patchify(channels, 64, kernel_size=8, stride=8).double()
    theirs = nn.Conv2d(channels, 64, kernel_size=8, stride=8).double()
    theirs.load_state_dict(ours.state_dict())
    ours = ours.to(memory_format=layout)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, channels, 32, 32, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 64, 4, 4, generator=generator, dtype=torch.float64)
    found = []
    for stem in (ours, theirs):
        x = images.clone(memory_format=layout).requires_grad_()
        tokens = stem(x)
        inputs = (x, stem.weight, stem.bias)
        found.append((tokens, *torch.autograd.grad((tokens * weights).sum(), inputs)))
    for mine, yours in zip(*found, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-10, atol=1e-12)


@each_conv_stem
def test_conv_stem_is_3x3_norm_relu_again_and_again_and_a_bare_1x1(config: ViTConfig) -> None:
    """Convolutions before a norm have no bias; after the last, which has one, comes nothing."""
    *body, last = build_stem(config, channels=1)
    assert len(body) == 3 * len(config.stem_channels)
    width_in = 1
    for i, width_out in enumerate(config.stem_channels):
        conv, norm, activation = body[3 * i : 3 * i + 3]
        assert type(conv) is nn.Conv2d
        assert (conv.in_channels, conv.out_channels) == (width_in, width_out)
        assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (2, 2), (1, 1))
        assert (conv.groups, conv.dilation, conv.bias) == (1, (1, 1), None)
        assert type(norm) is nn.BatchNorm2d
        assert (norm.num_features, norm.eps, norm.momentum) == (width_out, 1e-5, 0.1)
        assert norm.track_running_stats
        assert type(activation) is nn.ReLU
        width_in = width_out
    assert isinstance(last, nn.Conv2d)
    assert (last.in_channels, last.out_channels) == (width_in, config.width)
    assert (last.kernel_size, last.stride, last.padding) == ((1, 1), (1, 1), (0, 0))
    assert last.bias is not None


@each_conv_stem
def test_each_3x3_of_stride_two_doubles_the_channels(config: ViTConfig) -> None:
    first = config.stem_channels[0]
    assert config.stem_channels == tuple(first * 2**i for i in range(len(config.stem_channels)))
    assert 2 ** len(config.stem_channels) == config.patch


@each_conv_stem
def test_last_1x1_is_a_plain_convolution(config: ViTConfig) -> None:
    """Neither clipped nor normalised: tokens of both signs, linear in what comes before."""
    stem = build_stem(config, channels=1).eval()
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    before, tokens = stem[:-1](images), stem(images)
    assert before.min() == 0
    assert tokens.min() < 0 < tokens.max()
    torch.testing.assert_close(tokens, F.conv2d(before, stem[-1].weight, stem[-1].bias))
