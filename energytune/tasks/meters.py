"""Meters: a score over predictions that come in batches, for one head or many at once.

They count on the device of the batches and return float64 on the CPU.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from energytune.tasks.scores import confusion_matrix, largest_class, mean_iou, mean_roc_auc

__all__ = ["AccuracyMeter", "IouMeter", "RocAucMeter"]


class _Counting(Protocol):
    """The part of a task that :class:`AccuracyMeter` needs."""

    def n_labelled(self, targets: Tensor) -> int: ...

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor: ...


class AccuracyMeter:
    """Share of correct samples; the exact quotient of two counts.

    Args:
        task: Counts what is correct in a batch.
    """

    def __init__(self, task: _Counting) -> None:
        self._task = task
        self._n_correct = torch.zeros((), dtype=torch.int64)
        self._n_samples = 0

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: logits (N, K) or (N, K, M), targets (N,)."""
        self._n_correct = self._task.n_correct(logits.detach(), targets) + self._n_correct
        self._n_samples += self._task.n_labelled(targets)

    def merge(self, other: AccuracyMeter) -> None:
        """Adds the counts of another meter."""
        self._n_correct = other._n_correct.to(self._n_correct.device) + self._n_correct
        self._n_samples += other._n_samples

    def compute(self) -> Tensor:
        """Returns the accuracy in [0, 1], scalar or (M,), float64; 0 without a sample."""
        return self._n_correct.cpu().double() / max(self._n_samples, 1)


class RocAucMeter:
    """Mean ROC-AUC over the labels that have both classes.

    The area is no mean over batches: logits and targets are copied and kept until the end.
    """

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: logits (N, L) or (N, L, M), targets (N, L) with NaN or -1 for missing."""
        self._logits.append(logits.detach().clone())
        self._targets.append(targets.clone())

    def merge(self, other: RocAucMeter) -> None:
        """Adds the batches of another meter."""
        device = self._logits[0].device if self._logits else torch.device("cpu")
        self._logits += [logits.to(device) for logits in other._logits]
        self._targets += [targets.to(device) for targets in other._targets]

    def compute(self) -> Tensor:
        """Returns the mean area in [0, 1], scalar or (M,), float64.

        0.5, no information, where no label has both classes.
        """
        if not self._logits:
            return torch.tensor(0.5, dtype=torch.float64)
        return mean_roc_auc(torch.cat(self._logits), torch.cat(self._targets)).cpu()


class IouMeter:
    """Mean intersection over union, over the classes that occur in targets or predictions.

    Args:
        n_classes: K.
        ignore_index: Target of pixels without a label; what is predicted there counts nowhere.
    """

    def __init__(self, n_classes: int, ignore_index: int) -> None:
        self._n_classes = n_classes
        self._ignore_index = ignore_index
        self._confusion = torch.zeros((n_classes, n_classes), dtype=torch.int64)

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: logits (N, K, *T) or (N, K, *T, M), targets (N, *T) int64."""
        known = targets != self._ignore_index
        predicted = largest_class(logits.detach())[known]
        counts = confusion_matrix(predicted, targets[known].long(), self._n_classes)
        self._confusion = counts + self._confusion.to(counts.device)

    def merge(self, other: IouMeter) -> None:
        """Adds the counts of another meter."""
        self._confusion = other._confusion.to(self._confusion.device) + self._confusion

    def compute(self) -> Tensor:
        """Returns the mIoU in [0, 1], scalar or (M,), float64; 0 without a labelled pixel."""
        return mean_iou(self._confusion.cpu())
