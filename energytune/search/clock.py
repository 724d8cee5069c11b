"""Wall-clock seconds by stage, and the time budget of a search."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from energytune.search.budgets import computed_s
from energytune.trial import TrialRecord

__all__ = ["StageClock", "TimeBudget", "end_seconds"]

_END_S, _END_SHARE = 5.0, 0.1
_BYTES_PER_S = 20e6
"""Of a model that is packed, hashed and stored: 10 s for one of 100 MB were measured."""


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
    """Decides whether one more trial fits, so that what comes after still finds its time.

    That is the confirmation, then the test of its winner and of the baselines, the report, and
    the registration.

    Args:
        budget_s: Seconds for the whole search, all of that included; None is no limit.
        clock: Running since the search began.
        concurrency: Trials at once.
        n_confirm_runs: Finetunes that the confirmation will need.
        end_s: Seconds for report and registration, see :func:`end_seconds`.
    """

    def __init__(
        self,
        budget_s: float | None,
        clock: StageClock,
        concurrency: int,
        n_confirm_runs: int,
        end_s: float = 0.0,
    ) -> None:
        self._budget_s, self._clock = budget_s, clock
        self._concurrency, self._n_confirm_runs = concurrency, n_confirm_runs
        self._end_s = end_s

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
        towards keeping time for the confirmation. Of the first trial of each worker only what it
        has computed counts, not how long its worker took to start. Before the first complete
        one nothing is known and a trial is allowed while there is time at all.

        Args:
            records: Trials that have ended.
            n_confirmed: Runs of the confirmation that are done already.
        """
        if self._budget_s is None:
            return True
        left_s = self._budget_s - self._clock.elapsed_s - self._end_s
        run = sorted((r for r in records if r.duplicate_of is None), key=lambda r: r.started_ms)
        first = {r.job.id for r in run[: self._concurrency]}
        complete = [r for r in run if r.state == "COMPLETE"]
        if not complete:
            return left_s > 0
        seconds = [_seconds(r, is_first=r.job.id in first) for r in complete]
        rounds = -(-max(0, self._n_confirm_runs - n_confirmed) // self._concurrency)
        # A test reads about as much as what is computed at a trial's end.
        test_s = statistics.median(r.finished.seconds if r.finished else 0.0 for r in complete)
        return left_s > max(seconds) + rounds * (statistics.median(seconds) + test_s)


def end_seconds(budget_s: float | None, weights_bytes: int) -> float:
    """Returns the seconds that are kept for the report and the registration.

    Args:
        budget_s: Of the whole search; at most a tenth of it is kept for what does not depend on
            the model's size. None keeps nothing.
        weights_bytes: Of the model that is registered.
    """
    if budget_s is None:
        return 0.0
    return min(_END_S, _END_SHARE * budget_s) + weights_bytes / _BYTES_PER_S


def _seconds(record: TrialRecord, *, is_first: bool) -> float:
    """Returns how long a trial has kept its worker, or computed if it had to wait for it first."""
    computed = computed_s(record)
    if is_first and computed:
        return computed
    # the clock may have been set between two starts of the search
    return max(0, record.ended_ms - record.started_ms - record.waited_ms) / 1000
