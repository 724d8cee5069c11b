"""Which head sides are trained side by side, and how many fit into memory at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from energytune.errors import ConfigError
from energytune.tasks import Task
from energytune.training.dense_group import DenseGroup
from energytune.training.head_group import HeadGroup
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.module_group import ModuleGroup

__all__ = ["PlacedGroup", "check_together", "make_groups", "split_by_memory"]

_COPIES = 4
"""Weights and momentum, of the run and of its group."""
_GROUP_BYTES = 6 * 10**6
"""Weights and momentum of one group on a CPU: what its second and third level of cache hold. More
is slower when batches are small, since each step then reads them all from memory; fewer is slower
too, since the products get narrow."""


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


def make_groups(
    runs: Sequence[HeadRun], members: Sequence[int], task: Task, *, seed: int, per_position: bool
) -> list[PlacedGroup]:
    """Returns groups of head sides that are trained together, those of one shape side by side.

    Args:
        runs: All runs.
        members: Indices of those to group.
        task: What they are trained for.
        seed: Seed of dropout and drop path.
        per_position: Whether features are (N, D, *T) with one target a position.
    """
    by_shape: dict[_Shape, list[int]] = {}
    for index in members:
        by_shape.setdefault(_shape(runs[index]), []).append(index)
    placed = []
    for shape, of_shape in by_shape.items():
        for indices in _cache_sized(runs, of_shape):
            group_runs = [runs[index] for index in indices]
            group: HeadGroup
            if not shape:
                group = ModuleGroup(group_runs, task, seed)
            elif len(shape) == 1 and not shape[0][-1]:
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


def _cache_sized(runs: Sequence[HeadRun], indices: list[int]) -> list[list[int]]:
    """Returns runs of one shape in groups of about equal size; on a GPU all in one."""
    n_bytes = head_bytes(runs[indices[0]]) // 2
    on_cpu = next(iter(runs[indices[0]].momentum.values())).device.type == "cpu"
    n_groups = -(-n_bytes * len(indices) // _GROUP_BYTES) if on_cpu else 1
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
