"""The energy map: every tau of every head, before anything is finetuned.

All heads of one cut are probed in one pass over its cached features. A row is what a recipe with
that tau would start finetuning from: its HP-train-accuracy and the energy that is left.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from itertools import groupby

import torch

from energytune.config import MapHead, ProbeGrid
from energytune.errors import TrialFailure
from energytune.models import Backbone, TaskModel, build_model
from energytune.models.head_only import head_model
from energytune.progress import NO_PROGRESS, Progress
from energytune.training import ProbeSnapshot
from energytune.training.head_groups import split_by_memory
from energytune.training.head_run import HeadRun
from energytune.training.probe import has_converged, probe_heads
from energytune.training.threads import cpu_threads
from energytune.trial.bench import Bench
from energytune.trial.map_curve import MapCurve

__all__ = ["build_energy_map"]

_MEMORY_SHARE = 0.25
_LEAST_STEP_FLOP = 2e8
"""Floating-point operations of a step of all heads from which on a second core pays: 2 ms of one.
Where others use the machine too, threads that wait for each other cost far more than they save."""


def build_energy_map(
    bench: Bench, grid: ProbeGrid, progress: Progress = NO_PROGRESS
) -> list[MapCurve]:
    """Returns the curves of all heads of the grid, in its order.

    Snapshots are kept in the bench's cache: the same grid with a larger ``tau_max``, or without
    stopping at convergence, goes on from them.

    Args:
        bench: Data, backbone and caches.
        grid: Which heads, and how far.
        progress: Told of feature extraction and of every epoch.

    Raises:
        CutError: If the backbone can't be cut at a depth of the grid.
        EnergyTuneError: Whatever is wrong with the features.
    """
    curves: list[MapCurve] = []
    for depth, heads in groupby(grid.heads(), key=lambda head: head.reinit_depth):
        curves += _probe_cut(bench, grid, depth, list(heads), progress)
    return curves


def _probe_cut(
    bench: Bench, grid: ProbeGrid, depth: int, heads: list[MapHead], progress: Progress
) -> list[MapCurve]:
    data = bench.probe_data(depth, progress)
    # tails share one frozen prefix, which is where they are
    backbone = bench.backbone if bench.device.type == "cpu" else bench.backbone.on(bench.device)
    models = [_model(bench, backbone, head) for head in heads]
    n_threads, n_workers = _split_cores(bench, grid, models)
    runs = [
        _run(bench, grid, model, head, heads, n_threads)
        for model, head in zip(models, heads, strict=True)
    ]
    seen: list[list[ProbeSnapshot]] = [[] for _ in heads]
    failures = [""] * len(heads)
    memory_bytes = _memory_bytes(bench.device)
    n_passes = len(split_by_memory(runs, memory_bytes))
    name = f"probing {len(heads)} heads" + (f" at depth {depth}" if depth else "")
    with (
        cpu_threads(n_threads),
        progress.stage(name, total=n_passes * grid.tau_max or None) as advance,
    ):
        for index, outcome in probe_heads(
            runs,
            data,
            bench.splits.task,
            seed=grid.seeds[0],
            tau=grid.tau_max,
            store=bench.map_snapshots,
            n_converged=grid.n_converged,
            memory_bytes=memory_bytes,
            n_workers=n_workers,
            on_epoch=lambda _epoch: advance(1),
        ):
            if isinstance(outcome, TrialFailure):
                failures[index] = str(outcome)
            else:
                seen[index].append(outcome)
    return [
        MapCurve(head, tuple(snapshots), _stopped_at(snapshots, grid), failure)
        for head, snapshots, failure in zip(heads, seen, failures, strict=True)
    ]


def _model(bench: Bench, backbone: Backbone, head: MapHead) -> TaskModel:
    """Returns a fresh head side; where no block is reinitialised it holds no backbone at all."""
    n_outputs = bench.splits.task.n_outputs
    if head.reinit_depth == 0:
        return head_model(
            head.head_arch, backbone.n_features, n_outputs, seed=head.seed, maps=bench.maps
        ).to(bench.device)
    model = build_model(
        backbone,
        head_arch=head.head_arch,
        n_outputs=n_outputs,
        reinit_depth=head.reinit_depth,
        seed=head.seed,
        output_size=bench.output_size,
        share_prefix=True,
    )
    return model.to(bench.device)


def _run(
    bench: Bench,
    grid: ProbeGrid,
    model: TaskModel,
    head: MapHead,
    together: list[MapHead],
    n_threads: int,
) -> HeadRun:
    config = grid.config(head)
    beside = []
    if model.dense_head_side() is not None:
        # heads of one shape are trained in one product: its rounding depends on all of them
        beside = [asdict(h) for h in together if h.head_arch == head.head_arch]
    trajectory = bench.trajectory_of(
        head_arch=head.head_arch,
        label_smoothing=head.label_smoothing,
        reinit_depth=head.reinit_depth,
        config=config,
        seed=head.seed,
        order_seed=grid.seeds[0],
        n_threads=n_threads,
        together=beside if len(beside) > 1 else [],
    )
    return HeadRun(model, config, head.label_smoothing, trajectory)


def _split_cores(bench: Bench, grid: ProbeGrid, models: list[TaskModel]) -> tuple[int, int]:
    """Returns threads of a product, and workers that train groups of heads side by side.

    Tails of real layers share one generator and go one after the other, each on all cores. Dense
    heads go side by side where there are groups enough, on one core if all are little work.
    """
    n_cores = bench.spec.n_threads
    if bench.device.type != "cpu" or any(model.dense_head_side() is None for model in models):
        return n_cores, 1
    n_weights = sum(p.numel() for model in models for p in model.head_side_parameters())
    flop = 6 * grid.probe.batch_size * n_weights  # forward, gradient by weights and by inputs
    return (n_cores, n_cores) if flop >= _LEAST_STEP_FLOP else (1, 1)


def _stopped_at(snapshots: list[ProbeSnapshot], grid: ProbeGrid) -> int | None:
    n_same = grid.n_converged
    if n_same is None or not has_converged(snapshots, n_same):
        return None
    return snapshots[-n_same].epoch


def _memory_bytes(device: torch.device) -> int:
    """Returns a quarter of the memory of the device: of all, so that a rerun splits alike."""
    if device.type == "cuda":
        return int(_MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory)
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(_MEMORY_SHARE * n_bytes)
