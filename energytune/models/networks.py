"""The small networks that come with energytune and need no download."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

__all__ = [
    "DIGIT_BACKBONES",
    "ConvLayer",
    "EmbeddedCNN",
    "EmbeddedMLP",
    "FlatOutput",
    "HiddenLayer",
]


class HiddenLayer(nn.Linear):
    """A linear layer and its ReLU as one module: half the module calls of a ``Sequential``."""

    def forward(self, input: Tensor) -> Tensor:
        """Returns max(0, W x + b), (N, out_features)."""
        return torch.relu(F.linear(input, self.weight, self.bias))


class EmbeddedMLP(nn.Module):
    """A multi-layer perceptron of equal hidden layers; each of them is a block.

    It has no normalisation layers: at this size they blur the effect that a search looks for.

    Attributes:
        blocks: The hidden layers, applied one after the other.
        sequential_blocks: Tells that the network is its ``blocks`` and nothing else.
        input_shape: (width of the input,).
        num_features: Width D of the features.
    """

    sequential_blocks = True

    def __init__(self, n_inputs: int = 64, n_hidden: int = 128, n_blocks: int = 4) -> None:
        super().__init__()
        self.input_shape = (n_inputs,)
        self.num_features = n_hidden
        widths = [n_inputs] + [n_hidden] * n_blocks
        self.blocks = nn.ModuleList(
            HiddenLayer(width_in, width_out) for width_in, width_out in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns features, (N, num_features) float32, of inputs (N, n_inputs) float32."""
        for block in self.blocks:
            x = block(x)
        return x


class ConvLayer(nn.Conv2d):
    """A 3 x 3 convolution and its ReLU on square one-line images, (N, C * side * side).

    Flat inputs and outputs let it stand in one chain with dense layers.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__(n_in, n_out, kernel_size=3, stride=stride, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """Returns max(0, W * x + b), (N, n_out * (side / stride)^2), of a flat input."""
        side = math.isqrt(input.shape[1] // self.in_channels)
        images = input.view(-1, self.in_channels, side, side)
        return torch.relu(super().forward(images)).flatten(1)


class EmbeddedCNN(nn.Module):
    """A small convolutional network on 8 x 8 images; each of its four layers is a block.

    Three convolutions (8, 16 and 32 channels on 8 x 8, 4 x 4 and 2 x 2 pixels) and one dense
    layer; no normalisation, as in :class:`EmbeddedMLP`.

    Attributes:
        blocks: The layers, applied one after the other.
        sequential_blocks: Tells that the network is its ``blocks`` and nothing else.
        input_shape: (64,), the pixels.
        num_features: Width D of the features.
    """

    sequential_blocks = True

    def __init__(self, n_hidden: int = 128) -> None:
        super().__init__()
        self.input_shape = (64,)
        self.num_features = n_hidden
        self.blocks = nn.ModuleList(
            [
                ConvLayer(1, 8),
                ConvLayer(8, 16, stride=2),
                ConvLayer(16, 32, stride=2),
                HiddenLayer(32 * 2 * 2, n_hidden),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns features, (N, num_features) float32, of inputs (N, 64) float32."""
        for block in self.blocks:
            x = block(x)
        return x


class FlatOutput(nn.Module):
    """A network whose output (N, ...) is flattened to (N, D); it is not cut into blocks.

    Attributes:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Returns the network's output, flattened to (N, D)."""
        output: Tensor = self.network(x)
        return output.flatten(1)


DIGIT_BACKBONES: dict[str, Callable[[], EmbeddedMLP | EmbeddedCNN]] = {
    "digits-mlp": EmbeddedMLP,
    "digits-cnn": EmbeddedCNN,
}
"""Backbones of the embedded digits by name; each call builds one with random weights."""
