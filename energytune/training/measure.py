"""What is measured of a group of head sides at a snapshot, on train and on valid."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from energytune.science.energy import residual_norms
from energytune.tasks import Task
from energytune.training.energy_details import energy_details
from energytune.training.features import Features
from energytune.training.head_group import Batch, HeadGroup
from energytune.training.probe_data import ProbeData
from energytune.training.records import ProbeSnapshot

__all__ = ["as_rows", "measure"]

_LOGIT_ELEMENTS = 1 << 22  # 16 MB of float32 for the logits of one pass over some samples
_MAX_SAMPLES = 1024


@torch.no_grad()
def measure(
    group: HeadGroup, data: ProbeData, task: Task, epoch: int, *, rows: bool
) -> list[ProbeSnapshot]:
    """Returns one snapshot a head, in the order of the group's runs.

    Args:
        group: Head sides to measure; evaluation mode is its own business.
        data: Features and targets.
        task: Loss, residual and metric.
        epoch: Finished probing epochs.
        rows: Whether the group takes positions as samples (:func:`as_rows`).
    """
    n_heads = len(group.runs)
    energy = torch.zeros(n_heads, dtype=torch.float64, device=data.device)
    pull, train_loss, valid_loss = (energy.clone() for _ in range(3))
    meters, details = (task.meter(), task.meter()), energy_details(task)
    n_energy = n_pull = n_train = n_valid = 0
    for z, targets in _in_order(data.train, data.train_targets, task, n_heads, rows):
        logits = group.logits(z)
        residual = task.residual(logits, targets)
        labelled = task.labelled(targets)
        energy += residual_norms(residual)[labelled].sum(dim=0)
        n_energy += int(labelled.sum())
        pulled = labelled.flatten(1).any(dim=1) if labelled.ndim > 1 else labelled
        pull += group.pull_norms(residual)[pulled].sum(dim=0)
        n_pull += int(pulled.sum())
        n_labels = task.n_labelled(targets)
        train_loss += task.loss(logits, targets).double() * n_labels
        n_train += n_labels
        meters[0].update(logits, targets)
        details.update(residual, logits, targets)
    for z, targets in _in_order(data.valid, data.valid_targets, task, n_heads, rows):
        logits = group.logits(z)
        n_labels = task.n_labelled(targets)
        valid_loss += task.loss(logits, targets).double() * n_labels
        n_valid += n_labels
        meters[1].update(logits, targets)
    columns = {
        "train_acc": meters[0].compute(),
        "train_loss": train_loss / max(n_train, 1),
        "valid_acc": meters[1].compute(),
        "valid_loss": valid_loss / max(n_valid, 1),
        "aie": energy / max(n_energy, 1),
        "pull_norm": pull / max(n_pull, 1),
        "head_norm": group.head_norms(),
        **details.compute(),
    }
    n_views = data.train.n_views
    table = {name: column.tolist() for name, column in columns.items()}
    return [
        ProbeSnapshot(epoch=epoch, n_views=n_views, **{name: c[m] for name, c in table.items()})
        for m in range(n_heads)
    ]


def as_rows(batch: Batch) -> Batch:
    """Returns features (N, D, *T) and targets (N, *T) as rows (R, D) and (R,), R = N * prod(T).

    A head that looks at one position at a time sees each as a sample of its own. Features (N, D)
    are rows already and come back as they are.
    """
    inputs, targets = batch.inputs, batch.targets
    if inputs.ndim == 2:
        return batch
    rows = inputs.movedim(1, -1).reshape(-1, inputs.shape[1])
    return Batch(rows, targets.reshape(-1), batch.samples[:0])


def _split_size(task: Task, n_heads: int, shape: torch.Size) -> int:
    """Returns how many samples are measured at once, so that the logits stay small.

    Args:
        task: Gives the width of the logits.
        n_heads: Heads side by side.
        shape: Of the features, (N, ...).
    """
    n_positions = max(1, shape[2:].numel()) if len(shape) > 2 else 1
    return max(1, min(_MAX_SAMPLES, _LOGIT_ELEMENTS // (task.n_outputs * n_heads * n_positions)))


def _in_order(
    features: Features, targets: Tensor, task: Task, n_heads: int, rows: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    size = _split_size(task, n_heads, features.shape)
    for z, wanted in zip(features.batches(size), torch.split(targets, size), strict=True):
        batch = Batch(z, wanted, wanted.new_empty(0))
        if rows:
            batch = as_rows(batch)
        yield batch.inputs, batch.targets
