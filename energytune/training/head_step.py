"""One step of head probing: by closed form for a linear head, by autograd for all others."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from energytune.config import ProbeConfig
from energytune.models import TaskModel
from energytune.tasks import Task
from energytune.training.sgd import Sgd

__all__ = ["HeadStep", "head_step"]

HeadStep = Callable[[Tensor], None]
"""Trains the head side on the samples of a batch, given by their indices, (B,) int64."""


def head_step(
    model: TaskModel,
    features: Tensor,
    targets: Tensor,
    task: Task,
    config: ProbeConfig,
    label_smoothing: float,
) -> tuple[HeadStep, Sgd]:
    """Returns the step for the model's head side, and the optimiser whose state it changes.

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
    head = model.head
    # a tail may have no parameters and still act, so their number does not tell
    has_tail = model.spec().get("reinit_depth", 0) > 0
    if isinstance(head, nn.Linear) and head.bias is not None and not has_tail:
        step = _closed_form(head, features, targets, task, config.lr, label_smoothing, optimizer)
    else:
        step = _autograd(model, features, targets, task, config.lr, label_smoothing, optimizer)
    return step, optimizer


def _closed_form(
    head: nn.Linear,
    features: Tensor,
    targets: Tensor,
    task: Task,
    lr: float,
    label_smoothing: float,
    optimizer: Sgd,
) -> HeadStep:
    """With G = (p - t) / B, the mean loss has the gradients G^T z and sum(G): [Ren2023]_, Eq. 2."""
    dense_targets = task.soft_targets(targets, label_smoothing)
    weight, bias = head.weight, head.bias

    @torch.no_grad()
    def step(batch: Tensor) -> None:
        z = features[batch]
        pull = task.probs(F.linear(z, weight, bias))
        pull.sub_(dense_targets[batch]).div_(len(batch))
        optimizer.apply([pull.t() @ z, pull.sum(dim=0)], lr)

    return step


def _autograd(
    model: TaskModel,
    features: Tensor,
    targets: Tensor,
    task: Task,
    lr: float,
    label_smoothing: float,
    optimizer: Sgd,
) -> HeadStep:
    def step(batch: Tensor) -> None:
        logits = model.from_features(features[batch])
        optimizer.step(task.loss(logits, targets[batch], label_smoothing), lr)

    return step
