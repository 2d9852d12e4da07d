"""A plain vision transformer, as the reference study trains it (arXiv 2106.14881, section 3).

Letters of the shape comments: B images, N tokens (the class token first), D width, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stability.models.stacked import for_rows, linear
from stability.models.stems import build_stem
from stability.models.variants import LAYER_NORM_EPS, ViTConfig


# Types of their own where the initialisation has a law of its own.
class QueryKeyValue(nn.Linear):
    """Queries, keys and values of all heads from a token, stacked."""


class AttentionOutput(nn.Linear):
    """Mixes the heads."""


class Head(nn.Linear):
    """Logits from the class token, or from the mean of all tokens."""


class Attention(nn.Module):
    """Multi-head self-attention with biases, no dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = QueryKeyValue(width, 3 * width)
        self.project = AttentionOutput(width, width)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); with `queries`, the output of the first so many tokens alone."""
        if queries is None:
            q, k, v = self._heads(self.qkv(x), 3)
        else:
            weights, biases, width = self.qkv.weight, self.qkv.bias, x.shape[-1]
            first, rest = weights[..., :width, :], weights[..., width:, :]
            (q,) = self._heads(linear(x[:, :queries], first, biases[..., :width]), 1)
            k, v = self._heads(linear(x, rest, biases[..., width:]), 2)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, H, N, D/H)
        return self.project(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor, kinds: int) -> tuple[Tensor, ...]:
        """(B, N, kinds * D) to `kinds` tensors of shape (B, H, N, D/H)."""
        split = x.view(*x.shape[:2], kinds, self.heads, -1)
        return tuple(t.transpose(1, 2) for t in split.unbind(2))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then an MLP with GELU, each with its residual."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); with `queries`, the output of the first so many tokens alone."""
        x = x[:, :queries] + self.attention(self.norm1(x), queries)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class ViT(nn.Module):
    """Stem, class token, learned positions, blocks, final norm, linear head on the class token.

    With `pool="mean"` there is no class token and the head reads the mean of all tokens, after
    the norm (pycls' classifier type "pooled").
    Takes images of shape (B, channels, image, image), gives logits of shape (B, classes).
    """

    stacks = True  # its own parameters go through `for_rows`

    def __init__(self, config: ViTConfig, channels: int, classes: int) -> None:
        super().__init__()
        own_token = config.pool == "token"
        tokens = (config.image // config.patch) ** 2 + own_token
        self.stem = build_stem(config, channels)
        self.class_token = nn.Parameter(torch.empty(1, 1, config.width)) if own_token else None
        self.positions = nn.Parameter(torch.empty(1, tokens, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.head = Head(config.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).flatten(2).transpose(1, 2)  # (B, D, h, w) -> (B, h * w, D)
        if self.class_token is not None:
            x = torch.cat([for_rows(self.class_token, len(x)), x], dim=1)
        x = x + for_rows(self.positions, len(x))
        for block in self.blocks[:-1]:
            x = block(x)
        if self.class_token is None:
            return self.head(self.norm(self.blocks[-1](x)).mean(dim=1))  # type: ignore[no-any-return]
        # The head reads the class token alone, so the last block computes nothing else: the same
        # function and gradients, a fifth less work at nano size.
        x = self.blocks[-1](x, queries=1)
        return self.head(self.norm(x[:, 0]))  # type: ignore[no-any-return]
