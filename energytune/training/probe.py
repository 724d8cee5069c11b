"""Head probing: head sides are trained alone, on features that were cached once.

One trajectory gives every tau: a snapshot is taken at each epoch of a geometric grid, and probing
goes on from the nearest one that is stored. All heads of one cut are trained side by side on the
same batches. Batch order depends on (seed, epoch) only, so a resumed trajectory equals an
uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from energytune.config import snapshot_epochs
from energytune.errors import TrialFailure
from energytune.tasks import Task
from energytune.training.dual_group import SampleSpan
from energytune.training.features import Features, train_view
from energytune.training.head_group import Batch
from energytune.training.head_groups import (
    PlacedGroup,
    check_together,
    make_groups,
    span_that_pays,
    split_by_memory,
)
from energytune.training.head_run import HeadRun
from energytune.training.measure import as_rows, measure
from energytune.training.order import epoch_order
from energytune.training.probe_data import ProbeData
from energytune.training.records import ProbeSnapshot
from energytune.training.snapshots import SnapshotStore
from energytune.training.threads import Workers

__all__ = ["Probed", "has_converged", "probe", "probe_heads"]

Probed = tuple[int, ProbeSnapshot | TrialFailure]
"""Index of the run, and what was measured; or why it can't go on."""

_BLOCK_ELEMENTS = 1 << 22  # gather at most 16 MB of float32 ahead of its use
_LEAST_CONVERGED_EPOCH = 16  # before that a slow head may stand still at chance


def probe(
    run: HeadRun,
    data: ProbeData,
    task: Task,
    *,
    seed: int,
    tau: int,
    store: SnapshotStore | None = None,
    on_epoch: Callable[[int], object] | None = None,
) -> Iterator[ProbeSnapshot]:
    """Trains one head side for ``tau`` epochs and yields each snapshot.

    Snapshots come in ascending order: one per grid epoch below ``tau`` and one at ``tau``. When
    the iterator is exhausted, ``run.model`` holds the head at ``tau``. The backbone's prefix is
    neither read nor written.

    Args:
        run: A fresh head side; trained in place.
        data: Features at the model's cut, on the model's device.
        task: Loss, residual and metric.
        seed: Seed of the batch order, and of dropout.
        tau: Head-probing epochs, >= 0.
        store: Where snapshots are kept and looked up; None keeps nothing.
        on_epoch: Called with the epoch after each epoch that is really run.

    Raises:
        TrialFailure: If logits or weights are not finite at a snapshot.
    """
    for _, outcome in probe_heads(
        [run], data, task, seed=seed, tau=tau, store=store, on_epoch=on_epoch
    ):
        if isinstance(outcome, TrialFailure):
            raise outcome
        yield outcome


def probe_heads(
    runs: Sequence[HeadRun],
    data: ProbeData,
    task: Task,
    *,
    seed: int,
    tau: int,
    store: SnapshotStore | None = None,
    n_converged: int | None = None,
    memory_bytes: int | None = None,
    n_workers: int = 1,
    on_epoch: Callable[[int], object] | None = None,
) -> Iterator[Probed]:
    """Trains many head sides of one cut for up to ``tau`` epochs, and yields all their snapshots.

    Those of one shape are trained side by side. A head in the batch equals its separate run up to
    rounding: 1e-5 relative at lr <= 0.03 in float32, 1e-12 in float64.

    Args:
        runs: Fresh head sides of one cut, with one batch size, momentum and number of views;
            trained in place. When the iterator is exhausted each holds its last snapshot's head.
        data: Features at the cut, on the models' device.
        task: Loss, residual and metric.
        seed: Seed of the batch order, which all share, and of dropout.
        tau: Head-probing epochs, >= 0.
        store: Where snapshots are kept and looked up; None keeps nothing.
        n_converged: A head whose HP-train-accuracy is the same in so many snapshots in a row
            stops (:func:`has_converged`); None never stops one. Asked again without it, the head
            goes on from its last snapshot.
        memory_bytes: Memory for weights and momentum; where the heads need more they are probed
            in several passes. None is no limit.
        n_workers: CPU threads that train groups of dense heads side by side, each by itself:
            threads that share each product wait for each other at every step.
        on_epoch: Called with the epoch after each epoch that is really run in a pass.

    Yields:
        (index of the run, snapshot), ascending in epoch for each run; or, as the last of a run
        whose numbers are no longer finite, (index, the failure).

    Raises:
        ConfigError: If the runs can't share their batches.
        TrialFailure: If a stored snapshot vanishes while it is read.
    """
    check_together(runs)
    for members in split_by_memory(runs, memory_bytes):
        with Workers(n_workers) as workers:
            one_pass = _Pass(
                [runs[i] for i in members], data, task, seed, store, n_converged, workers
            )
            for index, outcome in one_pass.run(tau, on_epoch):
                yield members[index], outcome


def has_converged(snapshots: Sequence[ProbeSnapshot], n_snapshots: int) -> bool:
    """Returns whether HP-train-accuracy has not changed over the last ``n_snapshots`` snapshots.

    Snapshots before epoch 16 do not count: a slow head may stand still at chance there. AIE may
    go on falling; that the accuracy stands still says that no sample changes sides any more.
    """
    last = snapshots[-n_snapshots:]
    return (
        len(last) == n_snapshots
        and last[0].epoch >= _LEAST_CONVERGED_EPOCH
        and len({snapshot.train_acc for snapshot in last}) == 1
    )


class _Pass:
    """Runs that are in memory together."""

    def __init__(
        self,
        runs: list[HeadRun],
        data: ProbeData,
        task: Task,
        seed: int,
        store: SnapshotStore | None,
        n_converged: int | None,
        workers: Workers,
    ) -> None:
        self._runs, self._data, self._task, self._seed = runs, data, task, seed
        self._store, self._n_converged, self._workers = store, n_converged, workers
        self._seen: list[list[ProbeSnapshot]] = [[] for _ in runs]
        self._over = [False] * len(runs)
        self._groups: list[PlacedGroup] = []
        self._span = SampleSpan.of(data.train)
        self._grouped_in: SampleSpan | None = None
        shape = data.train.shape
        self._per_position = len(shape) > 2 and shape[2:] == data.train_targets.shape[1:]

    def run(self, tau: int, on_epoch: Callable[[int], object] | None) -> Iterator[Probed]:
        grid = snapshot_epochs(tau)
        yield from self._stored(grid)
        fresh = [i for i, seen in enumerate(self._seen) if not seen]
        if fresh:
            self._regroup(fresh, n_epochs=0)
            yield from self._snapshots(0)
        for start, end in pairwise(grid):
            members = self._waiting_at(start)
            if not members:
                continue
            self._regroup(members, n_epochs=end - start)
            for epoch in range(start + 1, end + 1):
                self._train_epoch(epoch)
                if on_epoch is not None:
                    on_epoch(epoch)
            yield from self._snapshots(end)
        self._regroup([], n_epochs=0)

    def _stored(self, grid: list[int]) -> Iterator[Probed]:
        """Yields the stored snapshots of each run from epoch 0 on, up to the first gap."""
        for index, run in enumerate(self._runs):
            for epoch in grid:
                record = self._store and self._store.load_record(run.trajectory, epoch)
                if not record or self._over[index]:
                    break
                self._note(index, record)
                yield index, record
            if self._seen[index]:
                self._restore(run, self._seen[index][-1].epoch)

    def _waiting_at(self, epoch: int) -> list[int]:
        """Returns the runs whose last snapshot is at ``epoch`` and that are not over."""
        return [
            i
            for i, seen in enumerate(self._seen)
            if not self._over[i] and seen and seen[-1].epoch == epoch
        ]

    def _regroup(self, members: list[int], n_epochs: int) -> None:
        """Brings ``members``, and no others, into groups that suit so many epochs."""
        span = span_that_pays(self._span, self._runs, members, n_epochs)
        grouped = sorted(m for placed in self._groups for m in placed.members)
        if members and grouped == members and span is self._grouped_in:
            return
        for placed in self._groups:
            placed.group.sync()
        self._groups = []
        if members:
            self._groups = make_groups(
                self._runs,
                members,
                self._task,
                seed=self._seed,
                per_position=self._per_position,
                span=span,
                targets=None if self._per_position else self._data.train_targets,
                n_workers=self._workers.n_workers,
            )
        self._grouped_in = span

    def _train_epoch(self, epoch: int) -> None:
        data, batch_size = self._data, self._runs[0].config.batch_size
        order = epoch_order(data.n_train, self._seed, "probe", epoch, batch_size)
        n_steps = math.ceil(len(order) / batch_size)
        for placed in self._groups:
            placed.group.begin_epoch(epoch, n_steps)
        view = train_view(epoch, data.train.n_views)
        order = order.to(data.device)
        for block in _blocks(data.train, data.train_targets, order, batch_size, view):
            # group by group, so that the weights of one stay in the processor's cache
            self._workers.run([partial(_train_block, placed, block) for placed in self._groups])

    def _snapshots(self, epoch: int) -> Iterator[Probed]:
        for placed in self._groups:
            records = measure(placed.group, self._data, self._task, epoch, rows=placed.rows)
            placed.group.sync()
            for index, record in zip(placed.members, records, strict=True):
                failure = _failure(record)
                if failure is not None:
                    self._over[index] = True
                    yield index, failure
                    continue
                run = self._runs[index]
                if self._store is not None and run.trajectory:
                    self._store.save(run.trajectory, record, run.state())
                self._note(index, record)
                yield index, record

    def _note(self, index: int, record: ProbeSnapshot) -> None:
        self._seen[index].append(record)
        if self._n_converged is not None:
            self._over[index] = has_converged(self._seen[index], self._n_converged)

    def _restore(self, run: HeadRun, epoch: int) -> None:
        state = self._store.load_state(run.trajectory, epoch) if self._store else None
        if state is None:
            raise TrialFailure(
                f"The probing snapshot at epoch {epoch} vanished while it was read. Run again."
            )
        run.load_state(state)


def _train_block(placed: PlacedGroup, block: list[Batch]) -> None:
    for batch in block:
        placed.group.step(as_rows(batch) if placed.rows else batch)


def _blocks(
    features: Features, targets: Tensor, order: Tensor, batch_size: int, view: int
) -> Iterator[list[Batch]]:
    """Yields batches in order, many at a time: on small features a gather costs most."""
    per_batch = max(1, features.shape[1:].numel() * batch_size)
    block = max(1, _BLOCK_ELEMENTS // per_batch) * batch_size
    for indices in torch.split(order, block):
        inputs, wanted = features.take(indices, view), targets.index_select(0, indices)
        parts = (torch.split(part, batch_size) for part in (inputs, wanted, indices))
        yield [Batch(*batch) for batch in zip(*parts, strict=True)]


def _failure(record: ProbeSnapshot) -> TrialFailure | None:
    numbers = (record.train_loss, record.valid_loss, record.aie, record.head_norm, record.pull_norm)
    if all(map(math.isfinite, numbers)):
        return None
    return TrialFailure(
        f"Head probing diverged: the loss or the head is not finite at epoch {record.epoch} "
        f"(train loss {record.train_loss}, head norm {record.head_norm}). Lower probe.lr."
    )
