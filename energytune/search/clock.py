"""Wall-clock seconds by stage, and the time budget of a search."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from energytune.trial import TrialRecord

__all__ = ["StageClock", "TimeBudget"]


class StageClock:
    """Adds up wall-clock seconds by stage; running since it was made."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time inside the block to ``name``, however it is left."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds to a stage."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock was made."""
        return perf_counter() - self._started

    def seconds(self) -> dict[str, float]:
        """Returns the seconds by stage, ``total`` included."""
        return {"total": self.elapsed_s, **self._seconds}


class TimeBudget:
    """Decides whether one more trial fits, so that the confirmation still finds its time.

    Args:
        budget_s: Seconds for the whole search, confirmation included; None is no limit.
        clock: Running since the search began.
        concurrency: Trials at once.
        n_confirm_runs: Finetunes that the confirmation will need.
    """

    def __init__(
        self, budget_s: float | None, clock: StageClock, concurrency: int, n_confirm_runs: int
    ) -> None:
        self._budget_s, self._clock = budget_s, clock
        self._concurrency, self._n_confirm_runs = concurrency, n_confirm_runs

    def is_over(self) -> bool:
        """Returns whether the budget is spent."""
        return self._budget_s is not None and self._clock.elapsed_s >= self._budget_s

    def reason(self, records: Sequence[TrialRecord], n_confirmed: int = 0) -> str:
        """Returns why no further trial shall begin, ``""`` if one more fits.

        Args:
            records: Trials that have ended.
            n_confirmed: Runs of the confirmation that are done already.
        """
        fits = self.allows_trial(records, n_confirmed)
        return "" if fits else f"time budget of {self._budget_s:g} s"

    def allows_trial(self, records: Sequence[TrialRecord], n_confirmed: int = 0) -> bool:
        """Returns whether one more trial, and then the confirmation, fit into what is left.

        A trial is taken to last as long as the longest complete one so far: the estimate errs
        towards keeping time for the confirmation. Before the first one nothing is known and a
        trial is allowed while there is time at all.

        Args:
            records: Trials that have ended.
            n_confirmed: Runs of the confirmation that are done already.
        """
        if self._budget_s is None:
            return True
        left_s = self._budget_s - self._clock.elapsed_s
        seconds = [
            # the clock may have been set between two starts of the search
            max(0, r.ended_ms - r.started_ms - r.waited_ms) / 1000
            for r in records
            if r.state == "COMPLETE" and r.duplicate_of is None
        ]
        if not seconds:
            return left_s > 0
        rounds = -(-max(0, self._n_confirm_runs - n_confirmed) // self._concurrency)
        return left_s > max(seconds) + rounds * statistics.median(seconds)
