"""RegNetY, the convolutional network of reference (arXiv 2003.13678; block of pycls' anynet)."""

from torch import Tensor, nn

from stability.models.variants import RegNetConfig


def conv_bn(
    width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias and its BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(
            width_in,
            width_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(width_out),
    )


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the mean of all channels."""

    def __init__(self, width: int, width_squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width_squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(width_squeezed, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, h, w)
        return x * self.gate(x)  # type: ignore[no-any-return]


class BottleneckBlock(nn.Module):
    """1x1, grouped 3x3, squeeze-and-excitation, 1x1, and the residual; bottleneck ratio 1."""

    def __init__(self, width_in: int, width_out: int, stride: int, config: RegNetConfig) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            conv_bn(width_in, width_out, 1),
            nn.ReLU(),
            conv_bn(width_out, width_out, 3, stride, groups=width_out // config.group_width),
            nn.ReLU(),
            SqueezeExcitation(width_out, round(width_in * config.se_ratio)),
            conv_bn(width_out, width_out, 1),
        )
        changes_shape = stride != 1 or width_in != width_out
        self.shortcut = conv_bn(width_in, width_out, 1, stride) if changes_shape else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h / stride, w / stride)
        return self.relu(self.shortcut(x) + self.transform(x))  # type: ignore[no-any-return]


class RegNet(nn.Module):
    """Images of shape (B, channels, image, image) to logits of shape (B, classes)."""

    def __init__(self, config: RegNetConfig, channels: int, classes: int) -> None:
        super().__init__()
        first = conv_bn(channels, config.stem_width, 3, config.stem_stride)
        self.stem = nn.Sequential(first, nn.ReLU())
        blocks, width_in = [], config.stem_width
        for depth, width in zip(config.depths, config.widths, strict=True):
            for i in range(depth):
                blocks.append(BottleneckBlock(width_in, width, 2 if i == 0 else 1, config))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width_in, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.blocks(self.stem(images))).flatten(1))  # type: ignore[no-any-return]
