"""Gathers evidence while a model is tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from energytune.errors import DataError
from energytune.tasks.base import Task
from energytune.tasks.evidence import ARRAYS_OF, Array, Evidence
from energytune.tasks.scores import largest_class

__all__ = ["EvidenceGatherer"]


class EvidenceGatherer:
    """Gathers the evidence of a pass over a split, batch by batch.

    Args:
        task: The split's task.
    """

    def __init__(self, task: Task) -> None:
        self._metric = task.metric
        self._rows: dict[str, list[Array]] = {name: [] for name in ARRAYS_OF[task.metric]}
        of_metric: dict[str, Callable[[Tensor, Tensor], dict[str, Tensor]]] = {
            "accuracy": lambda logits, targets: {"correct": task.correct(logits, targets)},
            "roc_auc": _label_scores,
            "miou": lambda logits, targets: _pixel_counts(
                largest_class(logits), targets, task.labelled(targets), task.n_outputs
            ),
        }
        self._read = of_metric[task.metric]

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: logits (N, K, *T) and targets (N, *T), or (N, L) for labels."""
        for name, rows in self._read(logits.detach(), targets).items():
            self._rows[name].append(rows.cpu().numpy().copy())

    def evidence(self) -> Evidence:
        """Returns what was gathered.

        Raises:
            DataError: There was no batch, or a score is not finite.
        """
        if not all(self._rows.values()):
            raise DataError("The split holds no example, so there is no evidence.")
        arrays = {name: np.concatenate(rows) for name, rows in self._rows.items()}
        return Evidence(self._metric, arrays)


def _label_scores(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    # The half precisions fit into float32 without rounding.
    exact = logits if logits.dtype == torch.float64 else logits.float()
    told = torch.where(targets > 0, 1, torch.where(targets == 0, 0, -1))
    return {"scores": exact, "targets": told.to(torch.int8)}


def _pixel_counts(
    predicted: Tensor, targets: Tensor, known: Tensor, n_classes: int
) -> dict[str, Tensor]:
    """Returns (N, 3, K) int64 counts of pixels; those without a label count nowhere."""
    n = len(targets)
    image = torch.arange(n, device=targets.device).reshape(-1, *(1 for _ in targets.shape[1:]))
    cells = (image * n_classes).expand_as(targets)[known]
    labelled, guessed = targets[known].long(), predicted[known]

    def count(classes: Tensor, where: Tensor) -> Tensor:
        return torch.bincount(where + classes, minlength=n * n_classes).reshape(n, n_classes)

    hit = labelled == guessed
    counts = (count(labelled[hit], cells[hit]), count(guessed, cells), count(labelled, cells))
    return {"counts": torch.stack(counts, dim=1)}
