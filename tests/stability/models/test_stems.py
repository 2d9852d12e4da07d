"""Each stem is the one of its source, layer by layer."""

import math

import pytest
import torch
import torch.nn.functional as F
from nets import STEMMED
from torch import nn

from stability.models import STEMS, VARIANTS, ViTConfig, config_of
from stability.models.stems import ChannelNorm, Patchify, build_stem

VITS = {name: config for name, config in VARIANTS.items() if isinstance(config, ViTConfig)}
SMALL = [name for name in VITS if VITS[name].image == 32]
each_conv_stem = pytest.mark.parametrize(
    "config", [pytest.param(c, id=n) for n, c in VITS.items() if c.stem == "conv"]
)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*SMALL, *STEMMED])
def test_a_stem_makes_a_token_of_each_patch(name: str, channels: int) -> None:
    config = config_of(name)
    assert isinstance(config, ViTConfig)
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
    assert len(body) == 3 * len(config.conv_channels)
    width_in = 1
    layers = zip(config.conv_channels, config.conv_strides, strict=True)
    for i, (width_out, stride) in enumerate(layers):
        conv, norm, activation = body[3 * i : 3 * i + 3]
        assert type(conv) is nn.Conv2d
        assert (conv.in_channels, conv.out_channels) == (width_in, width_out)
        assert (conv.kernel_size, conv.stride, conv.padding) == (
            (3, 3),
            (stride, stride),
            (1, 1),
        )
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
def test_each_3x3_of_stride_two_doubles_the_channels_and_others_keep_them(
    config: ViTConfig,
) -> None:
    """Section 3; the first sets the width."""
    widths, strides = config.conv_channels, config.conv_strides
    for before, after, stride in zip(widths, widths[1:], strides[1:], strict=False):
        assert after == stride * before
    assert math.prod(strides) == config.patch


@each_conv_stem
def test_last_1x1_is_a_plain_convolution(config: ViTConfig) -> None:
    """Neither clipped nor normalised: tokens of both signs, linear in what comes before."""
    stem = build_stem(config, channels=1).eval()
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    before, tokens = stem[:-1](images), stem(images)
    assert before.min() == 0
    assert tokens.min() < 0 < tokens.max()
    torch.testing.assert_close(tokens, F.conv2d(before, stem[-1].weight, stem[-1].bias))


# --- the other stems ---------------------------------------------------------------------------

Layers = list[tuple[object, ...]]


def layers(name: str, channels: int = 3) -> Layers:
    """(kernel, stride, padding, outputs, bias) of each convolution, the name of anything else."""
    config = config_of(name)
    assert isinstance(config, ViTConfig)
    found: Layers = []
    for m in build_stem(config, channels).modules():
        if isinstance(m, nn.Conv2d):
            (k, _), (s, _), (p, _) = m.kernel_size, m.stride, m.padding  # type: ignore[misc]
            found.append((k, s, p, m.out_channels, m.bias is not None))
        elif not list(m.children()):
            found.append((type(m).__name__,))
    return found


BN, RELU, GELU = ("BatchNorm2d",), ("ReLU",), ("GELU",)


def convs(name: str) -> list[tuple[object, ...]]:
    return [layer for layer in layers(name) if len(layer) > 1]


@pytest.mark.parametrize(
    ("stem", "kernels", "strides", "channels"),
    [
        ("s1", (3, 3, 3, 2, 1), (2, 2, 2, 2, 1), (52, 104, 208, 416, 384)),
        ("s2", (3, 3, 3, 4, 1), (2, 2, 1, 4, 1), (32, 64, 128, 256, 384)),
        ("s3", (3, 3, 3, 8, 1), (2, 1, 1, 8, 1), (17, 34, 68, 136, 384)),
        ("s4", (3, 3, 3, 16, 1), (1, 1, 1, 16, 1), (8, 16, 32, 64, 384)),
    ],
)
def test_s1_to_s4_are_those_of_table_3(
    stem: str, kernels: tuple[int, ...], strides: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    """Padding 1 for a 3x3 and none for the others; norm and ReLU after all but the last."""
    expected: Layers = []
    for k, s, width in zip(kernels, strides, channels, strict=True):
        last = k == 1
        expected += [(k, s, int(k == 3), width, last), *([] if last else [BN, RELU])]
    assert layers(f"vitp-4gf+{stem}") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vitp-nano+s1", [(3, 2), (3, 2), (2, 2), (1, 1)]),
        ("vitp-nano+s2", [(3, 2), (3, 1), (4, 4), (1, 1)]),
        ("vitp-nano+s3", [(3, 1), (3, 1), (8, 8), (1, 1)]),
        ("vitp-micro+s1", [(3, 2), (2, 2), (1, 1)]),
        ("vitp-micro+s2", [(3, 1), (4, 4), (1, 1)]),
        ("vitp-4gf+hmlp", [(4, 4), (2, 2), (2, 2)]),
        ("vitp-nano+hmlp", [(2, 2), (2, 2), (2, 2)]),
        ("vitp-micro+hmlp", [(2, 2), (2, 2)]),
    ],
)
def test_stems_for_smaller_patches_follow_the_same_rule(
    name: str, expected: list[tuple[int, int]]
) -> None:
    """As many 3x3s as the stride has factors of two, but for the one of the last patches."""
    assert [layer[:2] for layer in convs(name)] == expected


def test_hmlp_is_patches_that_grow_with_norms_and_gelus() -> None:
    assert layers("vitp-4gf+hmlp") == [
        (4, 4, 0, 96, False),
        BN,
        GELU,
        (2, 2, 0, 96, False),
        BN,
        GELU,
        (2, 2, 0, 384, False),
        BN,
    ]


def test_patchify_with_norm_and_relu_is_these_three() -> None:
    assert layers("vitp-4gf+patchify-bn-relu") == [(16, 16, 0, 384, False), BN, RELU]


def test_conv_stems_without_a_part_are_the_conv_stem_without_it() -> None:
    """Where the norm goes, its bias stays; LayerNorm takes the place of BatchNorm."""
    plain = layers("vitp-4gf+conv")

    def biased(found: Layers) -> Layers:
        return [(*layer[:4], True) if len(layer) > 1 else layer for layer in found]

    assert layers("vitp-4gf+conv-ln") == [("ChannelNorm",) if x == BN else x for x in plain]
    assert layers("vitp-4gf+conv-noact") == [x for x in plain if x != RELU]
    assert layers("vitp-4gf+conv-nonorm") == biased([x for x in plain if x != BN])
    assert layers("vitp-4gf+conv-linear") == biased([x for x in plain if len(x) > 1])


def test_the_linear_conv_stem_is_linear_and_no_other_is() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64) for _ in "ab")
    for stem in STEMS:
        if stem != "s4":
            config = config_of(f"vitp-nano+{stem}")
            assert isinstance(config, ViTConfig)
            f = build_stem(config, 3).double().eval()
            zero = f(torch.zeros_like(a))
            affine = torch.allclose(f(a + b) - zero, f(a) - zero + f(b) - zero, atol=1e-8)
            expected = {"patchify", "patchify-frozen", "conv-noact", "conv-linear"}
            assert affine == (stem in expected), stem


def test_channel_norm_is_a_layer_norm_of_each_pixel() -> None:
    norm = ChannelNorm(5).double()
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = (x - x.mean(1, keepdim=True)) / (
        x.var(1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(norm(x), expected)


def test_dual_patchnorm_is_norm_patchify_norm() -> None:
    """Each patch is centred and scaled over its pixels of all channels, then projected."""
    config = config_of("vitp-nano+dual-patchnorm")
    assert isinstance(config, ViTConfig)
    stem = build_stem(config, 3).double()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    columns = F.unfold(x, 8, stride=8).transpose(1, 2)  # (B, 16, 192)
    normed = F.layer_norm(columns, (192,), eps=1e-6)
    tokens = normed @ stem.project.weight.flatten(1).T + stem.project.bias
    expected = F.layer_norm(tokens, (64,), eps=1e-6).transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(stem(x), expected)
    assert {m.eps for m in stem.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}


@pytest.mark.parametrize("stem", STEMS)
def test_patchify_stems_and_hmlp_never_mix_patches(stem: str) -> None:
    """A change in one patch changes its token alone; in a stem of 3x3s its neighbours' too."""
    name = f"vitp-4gf+{stem}"
    config = config_of(name)
    assert isinstance(config, ViTConfig)
    model = build_stem(config, 1).eval()
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, :, 16:32, 16:32] += 1
    with torch.no_grad():
        changed = (model(x) - model(other)).abs().amax(dim=(0, 1)) > 0
    alone = stem in ("hmlp", "dual-patchnorm") or stem.startswith("patchify")
    assert changed[1, 1]
    assert (changed.sum() == 1) == alone
