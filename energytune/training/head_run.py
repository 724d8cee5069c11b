"""One head side on its way through probing: its network, its optimiser's settings and memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from energytune.config import ProbeConfig
from energytune.errors import CheckpointError
from energytune.models import DenseLayer, TaskModel

__all__ = ["HeadRun"]

_MOMENTUM = "momentum:"


@dataclass(eq=False)
class HeadRun:
    """A head side that is probed, alone or in a group with others.

    Attributes:
        model: Its head side is trained in place; where no block is reinitialised, a model of the
            head alone will do (:func:`~energytune.models.head_model`).
        config: Optimiser.
        label_smoothing: eps in [0, 1).
        trajectory: Content address of all that the trajectory depends on, tau excepted; "" keeps
            no snapshots.
        momentum: Momentum buffer of each trained parameter by name; zeros at first.
    """

    model: TaskModel
    config: ProbeConfig
    label_smoothing: float = 0.0
    trajectory: str = ""
    momentum: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # zeros give the same first step as torch's "no buffer yet": 0.9 * 0 + g = g
        zeros = {name: torch.zeros_like(p) for name, p in self.named_parameters()}
        self.momentum = {**zeros, **self.momentum}

    def named_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Returns what is trained: the parameters of tail and head by name, in forward order."""
        trained = {id(parameter) for parameter in self.model.head_side_parameters()}
        return [(name, p) for name, p in self.model.named_parameters() if id(p) in trained]

    def dense_layers(self) -> list[DenseLayer] | None:
        """Returns the head side as dense layers; None if they are not all that is trained."""
        layers = self.model.dense_head_side()
        in_order = [id(p) for layer in layers or () for p in (layer.weight, layer.bias)]
        return layers if in_order == [id(p) for _, p in self.named_parameters()] else None

    def state(self) -> dict[str, Tensor]:
        """Returns references to all that :meth:`load_state` needs to go on."""
        momentum = {f"{_MOMENTUM}{name}": value for name, value in self.momentum.items()}
        return {**self.model.head_side_state(), **momentum}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copies a :meth:`state` into the network and the momentum buffers.

        Raises:
            CheckpointError: If names or shapes are not those of this head side.
        """
        weights = {k: v for k, v in state.items() if not k.startswith(_MOMENTUM)}
        self.model.load_head_side_state(weights)
        for name, buffer in self.momentum.items():
            stored = state.get(_MOMENTUM + name)
            if stored is None or stored.shape != buffer.shape:
                raise CheckpointError(f"The state of a probed head has no momentum of {name!r}.")
            buffer.copy_(stored)
