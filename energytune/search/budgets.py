"""Budgets beside time: GPU-hours and room on disk."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from energytune.config.sizes import format_bytes
from energytune.errors import BudgetError, ConfigError
from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Job,
    Paused,
    ProbeDone,
    Tested,
    TrialRecord,
)

__all__ = ["DiskBudget", "GpuBudget", "computed_s", "folder_bytes"]

_LOOK_S = 5.0


def computed_s(record: TrialRecord) -> float:
    """Returns the seconds that a trial has computed, without pauses and its worker's start."""
    end_s = record.finished.seconds if record.finished else 0.0
    return record.seconds_hp + record.seconds_ft + end_s


class GpuBudget:
    """Counts the seconds of jobs on GPUs, and decides whether one more trial fits.

    It watches the search as an :class:`~energytune.trial.Observer`: seconds count as they are
    told, those of running and of paused trials too.

    Args:
        hours: GPU-hours of the whole search, confirmation included; None is no limit.
        gpus_per_trial: GPUs that each job holds.
        n_confirm_runs: Finetunes that the confirmation will need.

    Raises:
        ConfigError: If there is a limit and trials hold no GPU.
    """

    def __init__(
        self,
        hours: float | None,
        gpus_per_trial: float,
        n_confirm_runs: int,
    ) -> None:
        if hours is not None and not gpus_per_trial:
            raise ConfigError(
                f"gpu_hours = {hours:g} needs GPUs, but the trials of this search run on the CPU. "
                "Bound it with --time-budget, or give trials a GPU with --gpus-per-trial."
            )
        self._hours, self._gpus, self._n_confirm_runs = hours, gpus_per_trial, n_confirm_runs
        self._running: set[str] = set()
        self._spent_s = 0.0
        self._n_stints = 0

    def add_earlier(self, records: Sequence[TrialRecord]) -> None:
        """Counts jobs of earlier starts of the search."""
        self._spent_s += sum(map(computed_s, records))
        self._n_stints += len(records)

    @property
    def hours(self) -> float:
        """GPU-hours that were spent."""
        return self._spent_s * self._gpus / 3600

    def is_over(self) -> bool:
        """Returns whether the budget is spent."""
        return self._hours is not None and self.hours >= self._hours

    def reason(self, records: Sequence[TrialRecord], n_confirmed: int = 0) -> str:
        """Returns why no further trial shall begin, ``""`` if one more fits.

        Kept for later are a run of the median complete trial's seconds for each that the
        confirmation still needs, and the mean of all trials so far for each that runs.

        Args:
            records: Trials that have ended.
            n_confirmed: Runs of the confirmation that are done already.
        """
        if self._hours is None:
            return ""
        whole = [computed_s(r) for r in records if r.state == "COMPLETE" and not r.duplicate_of]
        left_s = self._hours * 3600 / self._gpus - self._spent_s
        left_s -= len(self._running) * self._spent_s / max(1, self._n_stints)
        if whole:
            n_left = max(0, self._n_confirm_runs - n_confirmed)
            left_s -= max(whole) + n_left * statistics.median(whole)
        return "" if left_s > 0 else f"budget of {self._hours:g} GPU-hours"

    def job_started(self, job: Job) -> None:
        """Takes note of a job that runs."""
        self._running.add(job.id)

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Adds the seconds that a job tells."""
        self._running.add(job.id)
        for event in events:
            if isinstance(event, Paused):
                self._stop(job.id)
            elif isinstance(event, ProbeDone | EpochsDone | Finished | Tested):
                self._spent_s += event.seconds

    def job_ended(self, record: TrialRecord) -> None:
        """Takes note of a job that runs no more."""
        self._stop(record.job.id)

    def _stop(self, job_id: str) -> None:
        if job_id in self._running:
            self._running.discard(job_id)
            self._n_stints += 1


class DiskBudget:
    """Decides what a search may write: its folder, and what it adds to the cache.

    Made before anything is cached. The least that a search writes must fit: its records and the
    weights that the confirmation keeps until it knows the winner. Of the rest, cached features
    get half, and the states of paused trials what is then left; both are caches, without which
    the same is computed again.

    Args:
        max_bytes: The limit; None is none.
        folder: The search's.
        cache: The user's cache, of which only what is added counts.
        least_bytes: What the search writes at least.
        clock: Returns seconds; the disk is looked at each 5 of them at most.

    Raises:
        BudgetError: If ``max_bytes`` is less than the least.
    """

    def __init__(
        self,
        max_bytes: int | None,
        folder: Path,
        cache: Path,
        least_bytes: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_bytes, self._folder, self._cache = max_bytes, folder, cache
        self._least_bytes, self._clock = least_bytes, clock
        self._looked_s = -_LOOK_S
        self._over = ""
        if max_bytes is not None and least_bytes > max_bytes:
            raise BudgetError(
                f"max_disk = {format_bytes(max_bytes)} is too little: the search writes at least "
                f"{format_bytes(least_bytes)}, its records and the weights of the models to "
                "confirm. Give more with --max-disk, or confirm fewer with --confirm-recipes."
            )
        self._cached_bytes = 0 if max_bytes is None else folder_bytes(cache)

    @property
    def used_bytes(self) -> int:
        """What is written so far."""
        return folder_bytes(self._folder) + max(0, folder_bytes(self._cache) - self._cached_bytes)

    @property
    def feature_bytes(self) -> int | None:
        """Room for features, to be asked before they are cached; None is no limit."""
        if self._max_bytes is None:
            return None
        return (self._max_bytes - self._least_bytes) // 2

    def state_bytes(self) -> int | None:
        """Returns the room for paused trials, once the features are cached; None is no limit."""
        if self._max_bytes is None:
            return None
        added = max(0, folder_bytes(self._cache) - self._cached_bytes)
        return max(0, (self._max_bytes - self._least_bytes - added) // 2)

    def reason(self) -> str:
        """Returns why no further trial shall begin, ``""`` while there is room for one."""
        if self._max_bytes is None or self._over:
            return self._over
        now_s = self._clock()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            # What the search writes in any case has its place already; the rest may grow.
            if self.used_bytes > self._max_bytes:
                self._over = f"disk budget of {format_bytes(self._max_bytes)}"
        return self._over


def folder_bytes(folder: Path) -> int:
    """Returns the bytes of all files under a folder; those that vanish meanwhile are left out."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        total += folder_bytes(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return total
