"""A head side that is a chain of dense layers, told as such, so that it can be trained faster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from energytune.models.networks import HiddenLayer

__all__ = ["DenseLayer", "dense_chain"]


@dataclass(frozen=True)
class DenseLayer:
    """y = W x + b, and max(0, y) if ``relu``.

    Attributes:
        weight: W, (out, in).
        bias: b, (out,).
        relu: Whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    relu: bool


def dense_chain(modules: Iterable[nn.Module]) -> list[DenseLayer] | None:
    """Returns the modules, applied one after the other, as dense layers; None if they are not.

    Args:
        modules: Linear layers with bias, ReLUs behind them, and ``nn.Sequential`` of these.
    """
    layers: list[DenseLayer] = []
    for module in _flat(modules):
        if type(module) is nn.ReLU and layers:
            layers[-1] = replace(layers[-1], relu=True)
        elif isinstance(module, nn.Linear) and _is_plain(module):
            layers.append(DenseLayer(module.weight, module.bias, type(module) is HiddenLayer))
        else:
            return None
    return layers or None


def _flat(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        if type(module) is nn.Sequential:
            yield from _flat(module)
        else:
            yield module


def _is_plain(module: nn.Linear) -> bool:
    """Returns whether calling the module is its own arithmetic and nothing more."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    known = type(module) in (nn.Linear, HiddenLayer)
    return known and not hooks and isinstance(module.bias, nn.Parameter)
