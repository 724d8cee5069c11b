"""What comes right before the first trial: the bench on its device, and the search's plan."""

from __future__ import annotations

from dataclasses import replace

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError
from energytune.progress import Progress
from energytune.report.cost_plan import SearchPlan, plan_lines
from energytune.search.budgets import DiskBudget
from energytune.search.plan import make_plan
from energytune.trial.bench import Bench
from energytune.trial.timing import time_bench

__all__ = ["place", "plan_search"]


def place(
    bench: Bench, config: SearchConfig, disk: DiskBudget, *, use_gpu: bool, progress: Progress
) -> tuple[Bench, int]:
    """Puts a bench on the trials' device and caches the features of every cut that is searched.

    Returns:
        The bench, and the bytes of features that were added to the cache.
    """
    before = bench.cached_feature_bytes
    room = disk.feature_bytes
    limit = None if room is None else before + room
    spec = replace(bench.spec, use_gpu=use_gpu, max_feature_bytes=limit)
    placed = Bench(spec, bench.splits, bench.backbone)
    searched = config.space.reinit_depth
    depths = {*range(searched.low, searched.high + 1)}
    if config.sampler == "energy":
        depths.add(0)  # for its map
    placed.prepare(sorted(depths), progress)
    placed.spec = replace(spec, max_state_bytes=disk.state_bytes())
    return placed, placed.cached_feature_bytes - before


def plan_search(
    config: SearchConfig,
    bench: Bench,
    *,
    concurrency: int,
    feature_bytes: int,
    progress: Progress,
) -> SearchPlan | None:
    """Times this machine, makes the plan, and tells it.

    Returns:
        None, with a note, if the timing fails: a plan is no reason to end a search.
    """
    try:
        with progress.stage("timing this machine", None):
            timing = time_bench(bench, config.space)
    except EnergyTuneError as error:
        progress.note(f"no plan could be made: {str(error).rstrip('.')}")
        return None
    plan = make_plan(config, timing, concurrency=concurrency, feature_bytes=feature_bytes)
    for line in plan_lines(plan):
        progress.note(line)
    return plan
