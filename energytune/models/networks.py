"""The small networks that come with energytune and need no download."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

__all__ = ["EMBEDDED_BACKBONES", "EmbeddedMLP", "FlatOutput", "HiddenLayer"]


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
        n_inputs: Width of the input.
        num_features: Width D of the features.
    """

    sequential_blocks = True

    def __init__(self, n_inputs: int = 64, n_hidden: int = 128, n_blocks: int = 4) -> None:
        super().__init__()
        self.n_inputs = n_inputs
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


EMBEDDED_BACKBONES: dict[str, Callable[[], EmbeddedMLP]] = {"digits-mlp": EmbeddedMLP}
"""Embedded backbones by name; each call builds one with random weights."""
