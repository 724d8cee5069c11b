"""A search's plan and its budget on disk, from its settings and its bench."""

from __future__ import annotations

from pathlib import Path

from energytune.config import SearchConfig
from energytune.config.sizes import parse_bytes
from energytune.errors import EnergyTuneError
from energytune.paths import cache_dir
from energytune.progress import Progress
from energytune.report.cost_plan import SearchPlan, plan_lines
from energytune.search.budgets import DiskBudget
from energytune.search.plan import least_bytes, make_plan
from energytune.trial.bench import Bench
from energytune.trial.timing import time_bench

__all__ = ["disk_budget", "plan_search"]


def disk_budget(config: SearchConfig, folder: Path, bench: Bench, weights_bytes: int) -> DiskBudget:
    """Returns the search's budget on disk, made before its features are cached.

    Raises:
        ConfigError: If ``max_disk`` is no size.
        BudgetError: If the search can't fit into it.
    """
    if config.max_disk is None:
        return DiskBudget(None, folder, folder, 0)
    room = parse_bytes(config.max_disk, "max_disk")
    return DiskBudget(room, folder, cache_dir(), least_bytes(config, weights_bytes))


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
