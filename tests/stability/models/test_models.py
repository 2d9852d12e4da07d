"""Each model is pinned by numbers, and its shortcuts compute what the plain model computes."""

import io
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from nets import CLASSES, each_model, each_vit, fresh, images
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stability.models import VARIANTS, ViTConfig
from stability.models.regnet import BottleneckBlock
from stability.models.vit import Attention, Block, ViT

# Of the nano ViTs: width, hidden size of the MLP, tokens and the class token.
D, M, N = 64, 192, 16 + 1

BLOCK_PARAMETERS = 2 * 2 * D + (3 * D * D + 3 * D) + (D * D + D) + (D * M + M) + (M * D + D)
AROUND_PARAMETERS = D + N * D + 2 * D + (D * CLASSES + CLASSES)  # token, positions, norm, head
PARAMETERS = {
    "vitp-nano": (8 * 8 * D + D) + AROUND_PARAMETERS + 4 * BLOCK_PARAMETERS,
    "vitc-nano": 9 * (16 + 16 * 32 + 32 * 64)  # the 3x3, without bias
    + 2 * (16 + 32 + 64)  # their norms
    + (64 * D + D)  # the 1x1
    + AROUND_PARAMETERS
    + 3 * BLOCK_PARAMETERS,
    "regnety-nano": 185_542,
    "resnet-nano": 73_626,
}
"""On one channel."""

BLOCK_COST = N * (4 * D * D + 2 * D * M) + 2 * N * N * D
# The last block: keys and values of all tokens, everything else of the class token alone.
LAST_BLOCK_COST = N * 2 * D * D + D * D + 2 * N * D + D * D + 2 * D * M
CONV_STEM_COST = 16**2 * 9 * 16 + 8**2 * 9 * 16 * 32 + 4**2 * 9 * 32 * 64 + 4**2 * 64 * D
COSTS = {
    "vitp-nano": 4**2 * 8 * 8 * D + 3 * BLOCK_COST + LAST_BLOCK_COST + D * CLASSES,
    "vitc-nano": CONV_STEM_COST + 2 * BLOCK_COST + LAST_BLOCK_COST + D * CLASSES,
    "regnety-nano": 1_548_800,
    "resnet-nano": 2_200_832,
}
"""Multiply-adds of one image of one channel."""


def awake(name: str, seed: int = 0) -> nn.Module:
    """A model in double precision of which no weight is zero: a zero head hides everything."""
    model = fresh(name, seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator).double()
    return model


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    return F.cross_entropy(model(x), torch.arange(len(x)) % CLASSES)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def multiply_adds(module: nn.Module, x: Tensor) -> int:
    """As torch counts them, on the one kind of attention in which it sees the products."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(x)
    return counter.get_total_flops() // 2


# --- numbers -----------------------------------------------------------------------------------


@each_model
def test_number_of_parameters_is_the_closed_form(name: str) -> None:
    assert sum(p.numel() for p in fresh(name).parameters()) == PARAMETERS[name]


@each_model
def test_multiply_adds_are_the_closed_form(name: str) -> None:
    assert multiply_adds(fresh(name), images(1)) == COSTS[name]


def test_conv_stem_costs_the_block_that_it_replaces_within_a_tenth() -> None:
    model = fresh("vitc-nano")
    assert multiply_adds(model.stem, images(1)) == CONV_STEM_COST
    assert multiply_adds(model.blocks[0], torch.zeros(1, N, D)) == BLOCK_COST
    assert abs(CONV_STEM_COST / BLOCK_COST - 1) < 0.1


def test_vitc_has_one_block_less_and_is_otherwise_vitp() -> None:
    """Section 3: the conv stem takes the place of one transformer block."""
    for name, config in VARIANTS.items():
        if name.startswith("vitc-"):
            other = VARIANTS[name.replace("vitc", "vitp")]
            assert config.depth == other.depth - 1
            assert replace(other, depth=config.depth, stem="conv") == config


def test_nano_vit_is_width_64_four_blocks_four_heads_and_mlp_of_three() -> None:
    assert VARIANTS["vitp-nano"] == ViTConfig(
        image=32,
        patch=8,
        width=64,
        depth=4,
        heads=4,
        mlp=3 * 64,
        conv_channels=(16, 32, 64),
        conv_strides=(2, 2, 2),
    )


@each_model
def test_norms_have_the_papers_constants(name: str) -> None:
    modules = list(fresh(name).modules())
    assert {m.eps for m in modules if isinstance(m, nn.LayerNorm)} <= {1e-6}
    batch_norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum, m.affine) for m in batch_norms} <= {(1e-5, 0.1, True)}
    assert not any(isinstance(m, nn.Dropout) for m in modules)


@each_vit
def test_every_block_has_two_norms_and_the_model_a_last_one(name: str) -> None:
    norms = [m for m in fresh(name).modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 * VARIANTS[name].depth + 1


@each_model
@pytest.mark.parametrize("channels", [1, 3])
def test_gives_a_finite_logit_for_each_image_and_class(name: str, channels: int) -> None:
    model = fresh(name, channels=channels)
    for x in (images(5, channels), torch.zeros(5, channels, 32, 32), 1e3 * images(5, channels)):
        logits = model(x)
        assert logits.shape == (5, CLASSES)
        assert torch.isfinite(logits).all()


@each_vit
def test_first_loss_is_ln_of_the_classes_since_the_head_is_zero(name: str) -> None:
    model, x = fresh(name).double(), images(dtype=torch.float64)
    assert (model(x) == 0).all()
    assert loss_of(model, x).item() == pytest.approx(math.log(CLASSES), rel=1e-14)


# --- gradients, shortcuts, layouts -------------------------------------------------------------


@each_model
def test_every_parameter_learns(name: str) -> None:
    """All have a gradient in the first step; none is zero once the head is not."""
    model = fresh(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        loss_of(model, images()).backward()
        for path, parameter in model.named_parameters():
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path
            if step == 2:
                assert parameter.grad.abs().max() > 0, path
        optimizer.step()


def plain_attention(attention: Attention, x: Tensor) -> Tensor:
    queries, keys, values = (
        part.unflatten(2, (attention.heads, -1)).transpose(1, 2)  # (B, H, N, D/H)
        for part in (x @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, dim=2)
    )
    scores = queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[-1])
    mixed = (scores.softmax(dim=3) @ values).transpose(1, 2).flatten(2)
    return mixed @ attention.project.weight.T + attention.project.bias


def plain_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return centred / scale * norm.weight + norm.bias


def plain_vit(model: ViT, x: Tensor) -> Tensor:
    """The equations with nothing left out: every block computes every token."""
    x = model.stem(x).flatten(2).transpose(1, 2)
    if model.class_token is not None:
        x = torch.cat([model.class_token.expand(len(x), 1, -1), x], dim=1)
    x = x + model.positions
    for block in model.blocks:
        x = x + plain_attention(block.attention, plain_norm(block.norm1, x))
        first, _, second = block.mlp
        hidden = plain_norm(block.norm2, x) @ first.weight.T + first.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # GELU, not its tanh
        x = x + hidden @ second.weight.T + second.bias
    x = plain_norm(model.norm, x)
    read = x.mean(dim=1) if model.class_token is None else x[:, 0]
    return read @ model.head.weight.T + model.head.bias


@pytest.mark.parametrize("name", ["vitp-nano", "vitc-nano", "vitp-nano+gap", "vitp-nano+d1"])
def test_leaving_out_unread_tokens_changes_neither_logits_nor_gradients(name: str) -> None:
    model, x = awake(name), images(dtype=torch.float64)
    ours, plain = model(x), plain_vit(model, x)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    expected = gradients(model, (plain * weights).sum())
    for path, gradient in gradients(model, (ours * weights).sum()).items():
        scale = float(expected[path].abs().max())
        assert scale > 0
        torch.testing.assert_close(gradient, expected[path], rtol=1e-5, atol=1e-9 * scale)


@pytest.mark.parametrize("queries", [None, 1, 5])
def test_attention_is_torchs_own(queries: int | None) -> None:
    ours = Attention(width=64, heads=4).double()
    theirs = nn.MultiheadAttention(64, 4, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.project.weight,
            "out_proj.bias": ours.project.bias,
        }
    )
    x = torch.randn(3, 17, 64, generator=torch.Generator().manual_seed(0)).double()
    output, _ = theirs(x, x, x, need_weights=False)
    output = output[:, :queries]
    torch.testing.assert_close(ours(x, queries), output, rtol=1e-9, atol=1e-12)
    a = gradients(ours, ours(x, queries).square().sum())
    b = gradients(theirs, output.square().sum())
    for mine, yours in zip(a.values(), (b[n] for n in theirs.state_dict()), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("queries", [1, 3])
def test_a_block_of_few_queries_is_the_start_of_the_whole(queries: int) -> None:
    block = Block(width=64, heads=4, mlp=192).double()
    x = torch.randn(3, 17, 64, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(block(x, queries), block(x)[:, :queries], rtol=1e-9, atol=1e-12)


def plain_bottleneck(block: BottleneckBlock, x: Tensor) -> Tensor:
    """1x1, grouped 3x3, gate, 1x1 and the residual, in evaluation mode."""

    def normed(pair: nn.Sequential, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        conv, norm = pair
        padding = conv.weight.shape[2] // 2
        y = F.conv2d(x, conv.weight, stride=stride, padding=padding, groups=groups)
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return (y - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[
            :, None, None
        ]

    first, _, grouped, _, squeeze, last = block.transform
    stride = 2 if isinstance(block.shortcut, nn.Sequential) else 1
    y = normed(first, x).clamp(min=0)
    y = normed(grouped, y, stride, groups=y.shape[1] // 8).clamp(min=0)
    _, down, _, up, _ = squeeze.gate
    gate = F.conv2d(y.mean((2, 3), keepdim=True), down.weight, down.bias).clamp(min=0)
    y = y * torch.sigmoid(F.conv2d(gate, up.weight, up.bias))
    shortcut = normed(block.shortcut, x, stride) if stride == 2 else x
    return (normed(last, y) + shortcut).clamp(min=0)


def test_resnet_block_is_its_equation_with_the_stride_on_the_3x3() -> None:
    """A quarter of the output's width inside; the shortcut is projected where shapes change."""
    model = awake("resnet-nano").eval()
    x = model.stem(images(2, dtype=torch.float64))
    projected = []
    for block in model.blocks:
        first, _, middle, _, last = block.transform
        assert middle[0].out_channels == middle[0].in_channels == last[0].out_channels // 4
        assert first[0].stride == last[0].stride == (1, 1)
        plain = block.shortcut(x) + last(middle(first(x).clamp(min=0)).clamp(min=0))
        y = block(x)
        torch.testing.assert_close(y, plain.clamp(min=0), rtol=1e-9, atol=1e-12)
        assert y.shape[2] == x.shape[2] // middle[0].stride[0]
        projected.append(isinstance(block.shortcut, nn.Sequential))
        x = y
    assert projected == [True, True, False, True, False, False]
    assert x.shape == (2, 128, 4, 4)


def test_regnety_block_is_its_equation_and_squeezes_to_a_quarter_of_its_input() -> None:
    model = awake("regnety-nano").eval()
    x = model.stem(images(2, dtype=torch.float64))
    for block in model.blocks:
        for buffer in (b for n, b in block.named_buffers() if n.endswith("running_var")):
            buffer.fill_(1.5)
        assert block.transform[4].gate[1].out_channels == x.shape[1] // 4
        y = block(x)
        torch.testing.assert_close(y, plain_bottleneck(block, x), rtol=1e-9, atol=1e-12)
        x = y
    assert x.shape == (2, 128, 2, 2)


@each_model
def test_channels_last_gives_the_same_numbers_to_rounding(name: str) -> None:
    model = awake(name).float()
    other = awake(name).float().to(memory_format=torch.channels_last)
    ours, theirs = loss_of(model, images()), loss_of(other, images())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    expected = gradients(other, theirs)
    for path, gradient in gradients(model, ours).items():
        scale = float(expected[path].abs().max())
        torch.testing.assert_close(gradient, expected[path], rtol=1e-3, atol=1e-4 * scale)


@pytest.fixture
def moved(name: str) -> Iterator[nn.Module]:
    """A model after a step: its weights and running statistics are no longer the first."""
    model = fresh(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, images()).backward()
    optimizer.step()
    return model.eval()


@each_model
def test_weights_go_through_a_file_unchanged(name: str, moved: nn.Module) -> None:
    file = io.BytesIO()
    torch.save(moved.state_dict(), file)
    file.seek(0)
    other = fresh(name, seed=1).eval()
    assert not torch.equal(other(images()), moved(images()))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(images()), moved(images()))
