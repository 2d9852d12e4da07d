"""ResNets of bottleneck blocks (He et al. 2016, arXiv 1512.03385; the stride on the 3x3)."""

from torch import Tensor, nn

from stability.models.regnet import conv_bn
from stability.models.variants import ResNetConfig

EXPANSION = 4  # of a block's output over its 3x3 (Table 1)


class ResNetBlock(nn.Module):
    """1x1, 3x3 and 1x1, each with its norm, and the residual."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        width_out = EXPANSION * width
        self.transform = nn.Sequential(
            conv_bn(width_in, width, 1),
            nn.ReLU(),
            conv_bn(width, width, 3, stride),
            nn.ReLU(),
            conv_bn(width, width_out, 1),
        )
        changes_shape = stride != 1 or width_in != width_out
        self.shortcut = conv_bn(width_in, width_out, 1, stride) if changes_shape else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, 4 * width, h / stride, ...)
        return self.relu(self.shortcut(x) + self.transform(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Images of shape (B, channels, image, image) to logits of shape (B, classes)."""

    def __init__(self, config: ResNetConfig, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(channels, config.stem_width, config.stem_kernel, config.stem_stride),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1) if config.stem_pool else nn.Identity(),
        )
        blocks, width_in = [], config.stem_width
        stages = zip(config.depths, config.widths, config.strides, strict=True)
        for depth, width, stride in stages:
            for i in range(depth):
                blocks.append(ResNetBlock(width_in, width, stride if i == 0 else 1))
                width_in = EXPANSION * width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width_in, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.blocks(self.stem(images))).flatten(1))  # type: ignore[no-any-return]
