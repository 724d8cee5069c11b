"""Head probing: the head alone is trained, on features that were cached once.

One trajectory gives every tau: :func:`probe` yields a snapshot at each epoch of a geometric grid
and goes on from the nearest one that is stored. Batch order depends on (seed, epoch) only, so a
resumed trajectory equals an uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from energytune.config import ProbeConfig, snapshot_epochs
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.science import average_initial_energy
from energytune.seeds import derive_seed
from energytune.tasks import Task
from energytune.training.evaluate import evaluate, in_batches
from energytune.training.head_epoch import head_epoch
from energytune.training.records import ProbeSnapshot
from energytune.training.sgd import Sgd
from energytune.training.snapshots import SnapshotStore

__all__ = ["ProbeData", "epoch_order", "probe", "seed_dropout"]

_MOMENTUM = "momentum:"


@dataclass(frozen=True)
class ProbeData:
    """Cached features of the training and validation split at one cut.

    Attributes:
        train_features: (N, ...) float32.
        train_targets: (N,) int64.
        valid_features: (M, ...) float32.
        valid_targets: (M,) int64.
    """

    train_features: Tensor
    train_targets: Tensor
    valid_features: Tensor
    valid_targets: Tensor

    def to(self, device: torch.device) -> ProbeData:
        """Returns the data on ``device``."""
        return ProbeData(
            self.train_features.to(device),
            self.train_targets.to(device),
            self.valid_features.to(device),
            self.valid_targets.to(device),
        )


def epoch_order(n_samples: int, seed: int, stage: str, epoch: int, batch_size: int) -> Tensor:
    """Returns the order in which a stage visits the samples in an epoch, (N,) int64.

    Where the last batch would hold a single sample it is left out (another one each epoch):
    batch normalisation has no variance to compute on it.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, stage, epoch))
    order = torch.randperm(n_samples, generator=generator)
    return order[:-1] if n_samples > 1 and n_samples % batch_size == 1 else order


def seed_dropout(device: torch.device, *parts: int | str) -> None:
    """Seeds the generator that dropout and drop path on ``device`` draw from.

    ``torch.manual_seed`` would do, at 0.3 ms a call: it also queues a seed for every kind of
    device, with a traceback.
    """
    seed = derive_seed(*parts)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def probe(
    model: TaskModel,
    data: ProbeData,
    task: Task,
    config: ProbeConfig,
    *,
    label_smoothing: float,
    seed: int,
    tau: int,
    store: SnapshotStore | None = None,
    trajectory: str = "",
    on_epoch: Callable[[int], object] | None = None,
) -> Iterator[ProbeSnapshot]:
    """Trains the head side of ``model`` for ``tau`` epochs and yields each snapshot.

    Snapshots come in ascending order: one per grid epoch below ``tau`` and one at ``tau``. When
    the iterator is exhausted, ``model`` holds the head at ``tau``. The backbone's prefix is
    neither read nor written.

    Args:
        model: A fresh model of the trajectory's seed; its head side is trained in place.
        data: Features at the model's cut, on the model's device.
        task: Loss, residual and accuracy.
        config: Optimiser.
        label_smoothing: eps in [0, 1).
        seed: Seed of the batch order.
        tau: Head-probing epochs, >= 0.
        store: Where snapshots are kept and looked up; None keeps nothing.
        trajectory: Content address of all that the trajectory depends on, tau excepted.
        on_epoch: Called with the epoch after each epoch that is really run.

    Yields:
        What is measured at each snapshot.

    Raises:
        TrialFailure: If logits or weights are not finite at a snapshot.
    """
    grid = snapshot_epochs(tau)
    stored = list(_stored_prefix(store, trajectory, grid))
    yield from stored
    train_epoch, optimizer = head_epoch(
        model, data.train_features, data.train_targets, task, config, label_smoothing
    )
    start = 0
    if stored and store is not None:
        start = stored[-1].epoch
        _restore(model, optimizer, store, trajectory, start)
    else:
        yield _snapshot(model, optimizer, data, task, 0, store, trajectory)
    due = set(grid)
    n_samples = len(data.train_targets)
    model.set_probe_mode(True)
    for epoch in range(start + 1, tau + 1):
        seed_dropout(data.train_targets.device, seed, "probe dropout", epoch)
        order = epoch_order(n_samples, seed, "probe", epoch, config.batch_size)
        train_epoch(order.to(data.train_targets.device))
        if on_epoch is not None:
            on_epoch(epoch)
        if epoch in due:
            yield _snapshot(model, optimizer, data, task, epoch, store, trajectory)


def _stored_prefix(
    store: SnapshotStore | None, trajectory: str, grid: list[int]
) -> Iterator[ProbeSnapshot]:
    """Yields the stored snapshots from epoch 0 on, up to the first gap."""
    if store is None:
        return
    for epoch in grid:
        record = store.load_record(trajectory, epoch)
        if record is None:
            return
        yield record


def _restore(
    model: TaskModel, optimizer: Sgd, store: SnapshotStore, trajectory: str, epoch: int
) -> None:
    state = store.load_state(trajectory, epoch)
    if state is None:
        raise TrialFailure(
            f"The probing snapshot at epoch {epoch} vanished while it was read. Run again."
        )
    model.load_head_side_state({k: v for k, v in state.items() if not k.startswith(_MOMENTUM)})
    optimizer.load_state(
        {k.removeprefix(_MOMENTUM): v for k, v in state.items() if k.startswith(_MOMENTUM)}
    )


def _snapshot(
    model: TaskModel,
    optimizer: Sgd,
    data: ProbeData,
    task: Task,
    epoch: int,
    store: SnapshotStore | None,
    trajectory: str,
) -> ProbeSnapshot:
    model.set_probe_mode(False)
    with torch.no_grad():
        logits = torch.cat(
            [model.from_features(z) for z, _ in in_batches(data.train_features, data.train_targets)]
        )
        residual = task.residual(logits, data.train_targets)
        n_correct = int(task.n_correct(logits, data.train_targets))
        train_loss = float(task.loss(logits, data.train_targets))
    valid = evaluate(model.from_features, in_batches(data.valid_features, data.valid_targets), task)
    record = ProbeSnapshot(
        epoch=epoch,
        train_acc=n_correct / len(data.train_targets),
        train_loss=train_loss,
        valid_acc=valid.accuracy,
        valid_loss=valid.loss,
        aie=average_initial_energy(residual),
        head_norm=model.head_norm(),
    )
    if not all(map(math.isfinite, (train_loss, valid.loss, record.aie, record.head_norm))):
        raise TrialFailure(
            f"Head probing diverged: the loss or the head is not finite at epoch {epoch} "
            f"(train loss {train_loss}, head norm {record.head_norm}). Lower probe.lr."
        )
    if store is not None:
        momentum = {f"{_MOMENTUM}{name}": value for name, value in optimizer.state().items()}
        store.save(trajectory, record, {**model.head_side_state(), **momentum})
    return record
