"""Further views of the energy, for tasks whose plain average misleads.

Of pixels the plain average is that of the background; of labels it is that of the many no, and it
grows with the number of labels. An empty head looks converged in both.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from energytune.science.energy import residual_norms
from energytune.tasks import MultiLabel, PerPixel, Task

__all__ = ["EnergyDetails", "energy_details"]


class EnergyDetails(Protocol):
    """Accumulates over batches of the training set, for M heads side by side."""

    def update(self, residual: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: residual and logits (N, K, *T, M), targets (N, *T) or (N, L)."""
        ...

    def compute(self) -> dict[str, Tensor]:
        """Returns fields of ``ProbeSnapshot``, each (M,) float64 on the CPU."""
        ...


def energy_details(task: Task) -> EnergyDetails:
    """Returns what is measured of the energy beside its plain average."""
    if isinstance(task, MultiLabel):
        return _LabelDetails()
    if isinstance(task, PerPixel):
        return _PixelDetails(task)
    return _NoDetails()


class _NoDetails:
    """One class a sample: the plain average says it all."""

    def update(self, residual: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Keeps nothing."""

    def compute(self) -> dict[str, Tensor]:
        """Returns nothing."""
        return {}


class _LabelDetails:
    """``energy_per_label`` and ``label_balanced_energy``, batch by batch."""

    def __init__(self) -> None:
        self._per_label: Tensor | float = 0.0
        self._n_samples = 0
        self._sums: Tensor | float = 0.0
        self._counts: Tensor | float = 0.0

    def update(self, residual: Tensor, logits: Tensor, targets: Tensor) -> None:
        n_labels = (targets >= 0).sum(dim=1)
        some = n_labels > 0
        norms = residual_norms(residual)[some] / n_labels[some].double().sqrt().unsqueeze(1)
        self._per_label = self._per_label + norms.sum(dim=0)
        self._n_samples += int(some.sum())
        energy = residual.abs().double()
        answers = torch.stack([targets > 0, targets == 0]).double()  # (2, N, L)
        self._sums = self._sums + torch.einsum("anl,nlm->alm", answers, energy)
        self._counts = self._counts + answers.sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        return {
            "aie_per_label": torch.as_tensor(self._per_label).cpu() / max(self._n_samples, 1),
            "aie_balanced": _mean_of_groups(self._sums, self._counts),
        }


class _PixelDetails:
    """``class_balanced_energy`` and the accuracy on all classes but 0, batch by batch."""

    def __init__(self, task: PerPixel) -> None:
        self._task = task
        self._sums: Tensor | float = 0.0
        self._counts: Tensor | float = 0.0
        self._n_right: Tensor | float = 0.0
        self._n_foreground = 0

    def update(self, residual: Tensor, logits: Tensor, targets: Tensor) -> None:
        norms = residual_norms(residual)
        masks = [targets == label for label in range(self._task.n_classes)]
        self._sums = self._sums + torch.stack([norms[mask].sum(dim=0) for mask in masks])
        self._counts = self._counts + torch.stack([mask.sum() for mask in masks]).double()
        foreground = self._task.labelled(targets) & (targets != 0)
        self._n_right = self._n_right + self._task.correct(logits, targets)[foreground].sum(dim=0)
        self._n_foreground += int(foreground.sum())

    def compute(self) -> dict[str, Tensor]:
        right = torch.as_tensor(self._n_right).double().cpu()
        return {
            "aie_balanced": _mean_of_groups(self._sums, self._counts),
            "foreground_acc": right / max(self._n_foreground, 1),
        }


def _mean_of_groups(sums: Tensor | float, counts: Tensor | float) -> Tensor:
    """Returns the mean over the groups that occur of sum / count: (*groups, M) -> (M,)."""
    sums, counts = torch.as_tensor(sums).cpu(), torch.as_tensor(counts).cpu()
    there = counts > 0
    return (sums[there] / counts[there].unsqueeze(-1)).mean(dim=0)
