"""What a model shows without training: energy at the start of finetuning, and its pull since."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from energytune.models import TaskModel
from energytune.science.energy import residual_norms
from energytune.tasks import Task
from energytune.trial.bench import Bench

__all__ = ["PullWatch", "Start", "measure_start", "true_probability"]


@dataclass(frozen=True)
class Start:
    """The start of finetuning on the training set.

    Attributes:
        aie: Average initial energy against finetuning's targets.
        aie_predicted: What it is once the head has converged to the targets of probing.
        p0_samples: Probability of the true answer of each labelled sample.
    """

    aie: float
    aie_predicted: float
    p0_samples: tuple[float, ...]


@torch.no_grad()
def measure_start(
    bench: Bench, model: TaskModel, label_smoothing: float, ft_label_smoothing: float
) -> Start:
    """Measures a probed model on the cached features of the training set.

    Args:
        bench: Data and task.
        model: At the end of head probing.
        label_smoothing: eps of the targets in probing.
        ft_label_smoothing: eps of the targets in finetuning.
    """
    task = bench.splits.task
    data = bench.probe_data(int(model.spec()["reinit_depth"]))
    size = bench.eval_batch
    energy, predicted, p0 = [], [], []
    model.eval()
    for z, targets in zip(
        data.train.batches(size), torch.split(data.train_targets, size), strict=True
    ):
        logits = model.from_features(z)
        labelled = task.labelled(targets)
        residual = task.residual(logits, targets, ft_label_smoothing)
        energy.append(residual_norms(residual)[labelled])
        gap = task.soft_targets(targets, ft_label_smoothing) - task.soft_targets(
            targets, label_smoothing
        )
        predicted.append(residual_norms(gap)[labelled])
        p0.append(true_probability(task, logits, targets))
    return Start(
        aie=float(torch.cat(energy).mean()),
        aie_predicted=float(torch.cat(predicted).mean()),
        p0_samples=tuple(torch.cat(p0).tolist()),
    )


def true_probability(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the probability of the true answer of each sample that has one, (N',) float64.

    For one class a sample that is p[y]. For several labels, or one class a pixel, it is the mean
    over the labels or pixels that are there.
    """
    probs = task.probs(logits).double()
    if targets.ndim == logits.ndim:  # yes-or-no labels
        known = targets >= 0  # NaN, a missing label, compares as False
        at_truth = torch.where(targets > 0, probs, 1.0 - probs)
    else:
        known = task.labelled(targets)
        at_truth = (probs * task.soft_targets(targets, dtype=torch.float64)).sum(dim=1)
    known, at_truth = known.flatten(start_dim=1 if known.ndim > 1 else 0), at_truth * known
    if known.ndim == 1:
        return at_truth[known]
    n_known = known.sum(dim=1)
    means = at_truth.flatten(1).sum(dim=1) / n_known.clamp_min(1)
    return means[n_known > 0]


class PullWatch:
    """Watches ||dL/dz|| and the energy of each training sample while finetuning.

    dL/dz of a sample's own loss is minus direction times energy (Eq. 2): the observable of the
    right panel of Fig. 2.

    Attributes:
        rows: One a watched epoch: means over the labelled training samples.
    """

    def __init__(self, bench: Bench, epochs: Collection[int], ft_label_smoothing: float) -> None:
        """Watches at some epochs, 0 being the start of finetuning."""
        self._bench, self._epochs, self._smoothing = bench, frozenset(epochs), ft_label_smoothing
        self.rows: list[dict[str, float]] = []

    def __call__(self, epoch: int, model: TaskModel) -> None:
        if epoch not in self._epochs:
            return
        bench = self._bench
        task, pulls, energies = bench.splits.task, [], []
        for inputs, targets in bench.splits.train.batches(bench.eval_batch):
            inputs, targets = inputs.to(bench.device), targets.to(bench.device)
            with torch.no_grad():
                z = model.features(inputs)
            z = z.float().detach().requires_grad_()
            logits = model.from_features(z)
            residual = task.residual(logits.detach(), targets, self._smoothing)
            (pull,) = torch.autograd.grad(logits, z, residual.neg())
            norms = residual_norms(model.feature_values(pull).flatten(1))
            labelled = task.labelled(targets)
            has_one = labelled.flatten(1).any(dim=1) if labelled.ndim > 1 else labelled
            pulls.append(norms[has_one])
            energies.append(residual_norms(residual)[labelled])
        pull_norm, energy = (float(torch.cat(x).mean()) for x in (pulls, energies))
        ratio = pull_norm / energy if energy > 0 else math.nan
        self.rows.append(
            {"epoch": epoch, "pull_norm": pull_norm, "energy": energy, "pull_per_energy": ratio}
        )
