"""Which head sides are trained side by side, and how many fit into memory at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from energytune.errors import ConfigError
from energytune.tasks import Task
from energytune.training.chain_group import ChainGroup
from energytune.training.dense_group import DenseGroup
from energytune.training.dual_group import DualLinearGroup, SampleSpan
from energytune.training.head_group import HeadGroup
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.module_group import ModuleGroup

__all__ = [
    "PlacedGroup",
    "check_together",
    "dual_pays",
    "make_groups",
    "span_that_pays",
    "split_by_memory",
]

_COPIES = 4
"""Weights and momentum, of the run and of its group."""
_GROUP_BYTES = 6 * 10**6
"""Weights and momentum of one group on a CPU: what its second and third level of cache hold. More
is slower when batches are small, since each step then reads them all from memory; fewer is slower
too, since the products get narrow."""

# What one step does besides its products, in multiply or add operations that take as long; read
# off a core with AVX-512 (D = 512 and 2048, N = 1000, K * M = 80 to 3200, B = 32 and 128).
_PASS_OPS = 24  # passes over weights and momentum, or over their coordinates, an element
_LOGIT_OPS = 500  # softmax, gathers and sums, an element of the batch's logits
_CALL_OPS = 5 * 10**6  # calls into torch; the dual form makes twice as many
_CLEAR_WIN = 0.7


@dataclass(frozen=True)
class PlacedGroup:
    """A group and what it belongs to.

    Attributes:
        group: The head sides.
        members: Their indices among all runs.
        rows: Whether it takes positions (pixels) as samples of their own.
    """

    group: HeadGroup
    members: tuple[int, ...]
    rows: bool


def check_together(runs: Sequence[HeadRun]) -> None:
    """Checks that runs can share their batches.

    Raises:
        ConfigError: If there is none, or they differ in batch size or views.
    """
    if not runs:
        raise ConfigError("There must be at least one head to probe, got none.")
    for name in ("batch_size", "n_views", "momentum"):
        values = {getattr(run.config, name) for run in runs}
        if len(values) > 1:
            raise ConfigError(
                f"Heads that are probed side by side must have one {name}, got {sorted(values)}."
            )


def dual_pays(
    n_samples: int, width: int, *, batch_size: int, n_columns: int, n_epochs: int
) -> bool:
    """Returns whether linear heads should train as coordinates in the span of their samples.

    They should where the modelled time of a step is below 0.7 of that of the direct form. With N
    samples, D features, batches of B and K * M columns it is, a column and in operations,

        direct  D (4 B + 24) + 500 B + c / (K * M)
        dual    N (2 B + 24) + 500 B + 2 c / (K * M) + (8 + 2 N / (K * M)) D B / E

    with c for the calls of a step. The last term is the products of samples and the way into the
    coordinates and back, spread over the E epochs until the next snapshot. This depends on
    nothing that is measured while it runs, since the form decides how a trajectory is rounded.

    Args:
        n_samples: N; never dual above D / 2, where the coordinates would take more memory than
            weights and momentum.
        width: D.
        batch_size: B.
        n_columns: K * M, the logits of all linear heads of one sample.
        n_epochs: E.
    """
    if n_epochs < 1 or n_columns < 1 or 2 * n_samples > width:
        return False
    batch = min(batch_size, n_samples)
    logits, calls = batch * _LOGIT_OPS, _CALL_OPS / n_columns
    direct = width * (4 * batch + _PASS_OPS) + logits + calls
    change = (8 + 2 * n_samples / n_columns) * width * batch / n_epochs
    dual = n_samples * (2 * batch + _PASS_OPS) + logits + 2 * calls + change
    return dual < _CLEAR_WIN * direct


def span_that_pays(
    span: SampleSpan | None, runs: Sequence[HeadRun], members: Sequence[int], n_epochs: int
) -> SampleSpan | None:
    """Returns the span if the linear heads among ``members`` should train in it, else None.

    Args:
        span: The training samples; None where there is no such form of them.
        runs: All runs.
        members: Indices of those to train.
        n_epochs: Epochs until the next snapshot; 0 if there are none.
    """
    shapes = [shape for shape in (_shape(runs[index]) for index in members) if _is_linear(shape)]
    if span is None or not shapes:
        return None
    n_samples, width = span.shape
    pays = dual_pays(
        n_samples,
        width,
        batch_size=runs[members[0]].config.batch_size,
        n_columns=sum(shape[0][0] for shape in shapes),
        n_epochs=n_epochs,
    )
    return span if pays else None


def make_groups(
    runs: Sequence[HeadRun],
    members: Sequence[int],
    task: Task,
    *,
    seed: int,
    per_position: bool,
    span: SampleSpan | None = None,
    targets: Tensor | None = None,
    n_workers: int = 1,
) -> list[PlacedGroup]:
    """Returns groups of head sides that are trained together, those of one shape side by side.

    Args:
        runs: All runs.
        members: Indices of those to group.
        task: What they are trained for.
        seed: Seed of dropout and drop path.
        per_position: Whether features are (N, D, *T) with one target a position.
        span: The training samples, if linear heads are to train as coordinates in their span.
        targets: Of the training split, (N,), if batches say which of them they hold.
        n_workers: Threads that train groups side by side; where there is a group for each, all
            get as many.
    """
    by_shape: dict[_Shape, list[int]] = {}
    for index in members:
        by_shape.setdefault(_shape(runs[index]), []).append(index)
    placed = []
    for shape, of_shape in by_shape.items():
        in_span = span if _is_linear(shape) else None
        for indices in _cache_sized(runs, of_shape, in_span, n_workers):
            group_runs = [runs[index] for index in indices]
            group: HeadGroup
            if not shape:
                group = ModuleGroup(group_runs, task, seed)
            elif in_span is not None:
                group = DualLinearGroup(group_runs, task, in_span)
            elif len(group_runs) == 1:
                group = ChainGroup(group_runs[0], task, targets)
            elif _is_linear(shape):
                group = LinearGroup(group_runs, task)
            else:
                group = DenseGroup(group_runs, task)
            placed.append(PlacedGroup(group, tuple(indices), per_position and bool(shape)))
    return placed


_Shape = tuple[tuple[int, int, bool], ...]
"""Outputs, inputs and ReLU of each dense layer; empty for what is no chain of them."""


def _shape(run: HeadRun) -> _Shape:
    layers = run.dense_layers() or ()
    return tuple((*layer.weight.shape, layer.relu) for layer in layers)


def _is_linear(shape: _Shape) -> bool:
    return len(shape) == 1 and not shape[0][-1]


def _cache_sized(
    runs: Sequence[HeadRun], indices: list[int], span: SampleSpan | None, n_workers: int
) -> list[list[int]]:
    """Returns runs of one shape in groups of about equal size; on a GPU all in one."""
    n_bytes = head_bytes(runs[indices[0]]) // 2
    if span is not None:
        # of what each step passes over there are N rows, not D
        n_bytes = n_bytes * span.shape[0] // span.shape[1]
    on_cpu = next(iter(runs[indices[0]].momentum.values())).device.type == "cpu"
    n_groups = -(-n_bytes * len(indices) // _GROUP_BYTES) if on_cpu else 1
    if n_groups >= n_workers:  # fewer stay one product on all cores: narrow ones cost more
        n_groups = -(-n_groups // n_workers) * n_workers
    size = -(-len(indices) // max(1, n_groups))
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def split_by_memory(runs: Sequence[HeadRun], budget_bytes: int | None) -> list[list[int]]:
    """Returns the indices of all runs in passes of which each fits into memory.

    Args:
        runs: Head sides to probe.
        budget_bytes: Memory for one pass; None is no limit. A single run always gets its pass.
    """
    passes: list[list[int]] = [[]]
    used = 0
    for index, run in enumerate(runs):
        needed = head_bytes(run)
        if budget_bytes is not None and passes[-1] and used + needed > budget_bytes:
            passes.append([])
            used = 0
        passes[-1].append(index)
        used += needed
    return passes


def head_bytes(run: HeadRun) -> int:
    """Returns the bytes that weights and momentum of a run take while it is trained in a group."""
    parameters = run.model.head_side_parameters()
    return _COPIES * sum(p.numel() * p.element_size() for p in parameters)
