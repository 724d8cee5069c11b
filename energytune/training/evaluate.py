"""Loss and score of a model over a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from energytune.tasks import Task
from energytune.training.engine import place
from energytune.training.micro_batch import PiecewiseForward

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Outcome of one pass.

    Attributes:
        loss: Mean loss over the labelled entries, without smoothing, in nats.
        accuracy: What the task's meter measures, in [0, 1], higher is better: the share of
            correct samples, the mean ROC-AUC or the mIoU.
        correct: Per sample (pixel) whether it was correct, (N,) or (N, *T) bool on the CPU.
    """

    loss: float
    accuracy: float
    correct: Tensor


def evaluate(
    forward: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    device: torch.device | None = None,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Evaluation:
    """Returns loss and score of ``forward`` over all batches, without gradients.

    The caller puts the model into evaluation mode. A batch that does not fit into memory is halved.

    Args:
        forward: Inputs to logits.
        batches: Inputs and targets.
        task: Of the targets.
        device: Where ``forward`` wants its inputs; None leaves them where they are.
        watch: Told the logits and targets of every batch, which it must not change.

    Raises:
        TrialFailure: If a single sample does not fit into memory.
    """
    total_loss = 0.0
    correct: list[Tensor] = []
    n_labelled = 0
    in_pieces = PiecewiseForward(forward)
    meter = task.meter()
    with torch.no_grad():
        for inputs, targets in batches:
            if device is not None and device.type != "cpu":
                inputs, targets = place(inputs, targets, device)
            logits = in_pieces(inputs)
            n_here = task.n_labelled(targets)
            total_loss += float(task.loss(logits, targets)) * n_here
            n_labelled += n_here
            correct.append(task.correct(logits, targets).cpu())
            meter.update(logits, targets)
            if watch is not None:
                watch(logits, targets)
    return Evaluation(total_loss / max(n_labelled, 1), float(meter.compute()), torch.cat(correct))
