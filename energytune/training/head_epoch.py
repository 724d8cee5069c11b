"""One epoch of head probing: by closed form for dense layers, by autograd for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.config import ProbeConfig
from energytune.models import DenseLayer, TaskModel
from energytune.tasks import Task
from energytune.training.sgd import Sgd

__all__ = ["HeadEpoch", "head_epoch"]

HeadEpoch = Callable[[Tensor], None]
"""Trains the head side for an epoch: visits the samples in the given order, (N,) int64."""

_BLOCK_ELEMENTS = 1 << 22  # gather at most 16 MB of float32 ahead of its use


def head_epoch(
    model: TaskModel,
    features: Tensor,
    targets: Tensor,
    task: Task,
    config: ProbeConfig,
    label_smoothing: float,
) -> tuple[HeadEpoch, Sgd]:
    """Returns what trains the model's head side, and the optimiser whose state it changes.

    Args:
        model: Its head side is trained in place.
        features: (N, ...) at the model's cut, on the model's device.
        targets: (N,) int64.
        task: Loss, probabilities and targets.
        config: Optimiser.
        label_smoothing: eps in [0, 1).
    """
    trained = {id(parameter) for parameter in model.head_side_parameters()}
    named = [(name, p) for name, p in model.named_parameters() if id(p) in trained]
    optimizer = Sgd(named, momentum=config.momentum, weight_decay=config.weight_decay)
    layers = model.dense_head_side()
    in_order = [p for layer in layers or () for p in (layer.weight, layer.bias)]
    if layers and features.ndim == 2 and [*map(id, in_order)] == [id(p) for _, p in named]:
        epoch = _closed_form(layers, features, targets, task, config, label_smoothing, optimizer)
    else:
        epoch = _autograd(model, features, targets, task, config, label_smoothing, optimizer)
    return epoch, optimizer


def _closed_form(
    layers: list[DenseLayer],
    features: Tensor,
    targets: Tensor,
    task: Task,
    config: ProbeConfig,
    label_smoothing: float,
    optimizer: Sgd,
) -> HeadEpoch:
    """Back-propagates by hand; half the time of autograd on layers as small as a head's.

    With the pull G = (p - t) / B on a layer's output ([Ren2023]_, Eq. 2) and its input h, the
    mean loss has the gradients G^T h and sum(G), and G W is the pull on h.
    """
    dense_targets = task.soft_targets(targets, label_smoothing, features.dtype)

    @torch.no_grad()
    def epoch(order: Tensor) -> None:
        for inputs, wanted in _batches(features, dense_targets, order, config.batch_size):
            hidden = [inputs]
            for layer in layers:
                output = F.linear(hidden[-1], layer.weight, layer.bias)
                hidden.append(output.relu_() if layer.relu else output)
            pull = task.probs(hidden[-1])
            pull.sub_(wanted).div_(len(wanted))
            gradients: list[Tensor] = []
            for i in reversed(range(len(layers))):
                if layers[i].relu:
                    pull.mul_(hidden[i + 1] > 0)
                gradients += [pull.sum(dim=0), pull.t() @ hidden[i]]
                if i:
                    pull = pull @ layers[i].weight
            optimizer.apply(gradients[::-1], config.lr)

    return epoch


def _autograd(
    model: TaskModel,
    features: Tensor,
    targets: Tensor,
    task: Task,
    config: ProbeConfig,
    label_smoothing: float,
    optimizer: Sgd,
) -> HeadEpoch:
    def epoch(order: Tensor) -> None:
        for inputs, wanted in _batches(features, targets, order, config.batch_size):
            logits = model.from_features(inputs)
            optimizer.step(task.loss(logits, wanted, label_smoothing), config.lr)

    return epoch


def _batches(
    features: Tensor, targets: Tensor, order: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batches in order; one gather serves many, since on small features it costs most."""
    per_batch = max(1, features[:1].numel() * batch_size)
    block = max(1, _BLOCK_ELEMENTS // per_batch) * batch_size
    for indices in torch.split(order, block):
        inputs, wanted = features.index_select(0, indices), targets.index_select(0, indices)
        yield from zip(
            torch.split(inputs, batch_size), torch.split(wanted, batch_size), strict=True
        )
