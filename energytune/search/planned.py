"""The plan of a search, told right before its first trial."""

from __future__ import annotations

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError
from energytune.progress import Progress
from energytune.report.cost_plan import SearchPlan, plan_lines
from energytune.search.plan import make_plan
from energytune.trial.bench import Bench
from energytune.trial.timing import time_bench

__all__ = ["plan_search"]


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
