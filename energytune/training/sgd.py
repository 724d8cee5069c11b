"""SGD with momentum over a fixed list of parameters, with a state that can be saved.

The arithmetic is torch's own functional SGD. ``torch.optim.SGD`` itself is not used since its
first instance in a process imports the compiler stack, about two CPU seconds in every worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.sgd import sgd

__all__ = ["Sgd"]


class Sgd:
    """SGD; equal to ``torch.optim.SGD(fused=True)`` bit for bit at the same settings.

    Torch's unfused loop rounds the momentum differently, by about one unit in the last place.

    Args:
        parameters: Named parameters to train, in a fixed order.
        momentum: In [0, 1).
        weight_decay: L2 penalty, >= 0.
        buffers: Momentum buffers by parameter name to go on with, changed in place; None starts
            with zeros.
    """

    def __init__(
        self,
        parameters: Sequence[tuple[str, torch.nn.Parameter]],
        *,
        momentum: float,
        weight_decay: float,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._names = [name for name, _ in parameters]
        self._parameters: list[Tensor] = [parameter for _, parameter in parameters]
        self._momentum = momentum
        self._weight_decay = weight_decay
        # a zero buffer gives the same first step as torch's "no buffer yet": 0.9 * 0 + g = g
        self._buffers: list[Tensor] = (
            [torch.zeros_like(p) for p in self._parameters]
            if buffers is None
            else [buffers[name] for name in self._names]
        )

    def step(self, loss: Tensor, lr: float) -> None:
        """Takes one step down the gradient of ``loss``, a scalar that depends on the parameters."""
        self.apply(self.gradients(loss), lr)

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Returns the gradient of ``loss``, one tensor per parameter in order."""
        return list(torch.autograd.grad(loss, self._parameters))

    def apply(self, gradients: list[Tensor], lr: float) -> None:
        """Takes one step with given gradients, one per parameter in order."""
        with torch.no_grad():
            sgd(
                self._parameters,
                # the fused kernel reads memory in order: it must be the same order everywhere
                [_like(g, p) for g, p in zip(gradients, self._parameters, strict=True)],
                list(self._buffers),
                fused=True,
                weight_decay=self._weight_decay,
                momentum=self._momentum,
                lr=lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Returns references to the momentum buffers by parameter name."""
        return dict(zip(self._names, self._buffers, strict=True))

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copies momentum buffers in; raises ``KeyError`` if one is missing."""
        for name, buffer in zip(self._names, self._buffers, strict=True):
            buffer.copy_(state[name])


def _like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Returns a gradient laid out in memory as its parameter is."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
