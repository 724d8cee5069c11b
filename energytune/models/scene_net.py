"""The small network that comes with the embedded scenes: dense features, no download."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

__all__ = ["SCENE_BACKBONES", "ResidualBlock", "SceneResNet", "StemLayer"]


class StemLayer(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 and its ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, kernel_size=3, stride=2, padding=1)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, input: Tensor) -> Tensor:
        """Returns max(0, W * x + b), (N, n_out, H / 2, W / 2)."""
        return torch.relu(super().forward(input))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, without normalisation.

    The shortcut is a 1 x 1 convolution where width or resolution changes, else the identity.

    Attributes:
        conv1: The first convolution; it takes the stride.
        conv2: The second one.
        shortcut: What is added to their output.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=dilation, dilation=dilation)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Conv2d(n_in, n_out, 1, stride=stride)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weights that keep the scale of what passes through.

        torch's default shrinks it by 2.4 a convolution, which nothing makes up for here: a chain
        of them would not train without normalisation.
        """
        for conv in (self.conv1, self.conv2, self.shortcut):
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.constant_(cast(Tensor, conv.bias), 0.0)
        with torch.no_grad():
            self.conv2.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Returns max(0, shortcut(x) + conv2(max(0, conv1(x)))), (N, n_out, h, w)."""
        change = self.conv2(torch.relu(self.conv1(x)))
        return F.relu(self.shortcut(x) + change)


class SceneResNet(nn.Module):
    """A residual network of 109,408 parameters whose last blocks are dilated instead of strided.

    As in DeepLab's backbones, dilation keeps the resolution of the map while the field of view
    grows. It has no normalisation layers: at this size they blur the effect that a search looks
    for.

    Args:
        output_stride: Pixels of the image for one of the map, 4 or 8.
        n_channels: Of the images.

    Attributes:
        blocks: Stem and residual blocks, applied one after the other.
        sequential_blocks: Tells that the network is its ``blocks`` and nothing else.
        input_shape: Shape of one input, (C, 64, 64); others of a multiple of 8 pixels fit too.
        num_features: Channels of the map, 64.
    """

    sequential_blocks = True

    def __init__(self, output_stride: int = 4, n_channels: int = 3) -> None:
        super().__init__()
        self.input_shape = (n_channels, 64, 64)
        self.num_features = 64
        last_stride = output_stride // 4  # 1 or 2
        self.blocks = nn.ModuleList(
            [
                StemLayer(n_channels, 16),
                ResidualBlock(16, 32, stride=2),
                ResidualBlock(32, 32, stride=last_stride),
                ResidualBlock(32, 32, dilation=2),
                ResidualBlock(32, 64, dilation=4 // last_stride),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps, (N, 64, H / output_stride, W / output_stride), of images (N, C, H, W)."""
        for block in self.blocks:
            x = block(x)
        return x


SCENE_BACKBONES: dict[str, Callable[[], SceneResNet]] = {"scene-resnet": SceneResNet}
"""Embedded backbones of dense features by name; each call builds one with random weights."""
