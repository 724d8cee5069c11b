"""All budgets of a search as one: time, GPU-hours, room on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from energytune.config import SearchConfig
from energytune.config.sizes import parse_bytes
from energytune.paths import cache_dir
from energytune.search.budgets import DiskBudget, GpuBudget
from energytune.search.clock import StageClock, TimeBudget, end_seconds
from energytune.search.plan import least_bytes, n_confirm_runs
from energytune.trial import TrialRecord

__all__ = ["Spending"]


class Spending:
    """What a search may spend, and whether one more trial fits into it.

    Made before anything is cached.

    Args:
        config: The search.
        clock: Running since it began.
        folder: Where it writes.
        concurrency: Trials at once.
        gpus_per_trial: GPUs that each of them holds.
        weights_bytes: Of a trained model's weights.
        earlier: Jobs of earlier starts that are not in the study.

    Attributes:
        gpu: Counts GPU-hours; an observer of the search.
        disk: What may be written.

    Raises:
        ConfigError: If GPU-hours are bounded and trials hold no GPU, or ``max_disk`` is no size.
        BudgetError: If the search can't fit on the disk that it is given.
    """

    def __init__(
        self,
        config: SearchConfig,
        clock: StageClock,
        folder: Path,
        *,
        concurrency: int,
        gpus_per_trial: float,
        weights_bytes: int,
        earlier: Sequence[TrialRecord] = (),
    ) -> None:
        n_confirm = n_confirm_runs(config)
        end_s = end_seconds(config.time_budget_s, weights_bytes)
        self._time = TimeBudget(config.time_budget_s, clock, concurrency, n_confirm, end_s=end_s)
        self.gpu = GpuBudget(config.gpu_hours, gpus_per_trial, n_confirm)
        self.gpu.add_earlier(earlier)
        room = None if config.max_disk is None else parse_bytes(config.max_disk, "max_disk")
        self.disk = DiskBudget(room, folder, cache_dir(), least_bytes(config, weights_bytes))
        self._is_counted = config.time_budget_s is not None or config.gpu_hours is not None

    def reason(
        self, records: Callable[[], Sequence[TrialRecord]], n_confirmed: Callable[[], int]
    ) -> str:
        """Returns which budget leaves no room for a further trial, ``""`` if none.

        Args:
            records: Returns the trials that have ended; not asked without need.
            n_confirmed: Returns how many runs of the confirmation are done already.
        """
        if self._is_counted:
            ended, n_done = records(), n_confirmed()
            if reason := self._time.reason(ended, n_done) or self.gpu.reason(ended, n_done):
                return reason
        return self.disk.reason()

    def is_over(self) -> bool:
        """Returns whether time or GPU-hours are spent."""
        return self._time.is_over() or self.gpu.is_over()

    def is_late(self) -> bool:
        """Returns whether the time is spent."""
        return self._time.is_over()
