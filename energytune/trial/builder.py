"""Collects the events of one job into its record."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

from energytune.redact import redact
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial.records import (
    EpochsDone,
    Event,
    Finished,
    Job,
    ProbeDone,
    State,
    TrialRecord,
)

__all__ = ["INTERRUPTED", "RecordBuilder", "non_finite", "now_ms"]

INTERRUPTED = "interrupted"
"""Reason of a job that was ended because the search was stopped: it is run again later."""


_STARTED_NS = time.time_ns() - time.monotonic_ns()


def now_ms() -> int:
    """Returns the time in milliseconds since the epoch.

    It never goes back within a process, and what lies between two calls is true, even where the
    machine's clock is set meanwhile.
    """
    return (_STARTED_NS + time.monotonic_ns()) // 1_000_000


def non_finite(seen: ProbeSnapshot | FinetuneEpoch | Finished) -> str:
    """Returns which number is NaN or infinite, as a reason to fail the trial; else ``""``.

    The adaptation metrics of :class:`Finished` are not looked at: they only describe.
    """
    if isinstance(seen, Finished):
        where, numbers = "end", {k: getattr(seen, k) for k in ("objective", "best_valid_loss")}
    else:
        stage = "HP" if isinstance(seen, ProbeSnapshot) else "FT"
        where, numbers = f"{stage} epoch {seen.epoch}", asdict(seen)
    bad = [
        f"{name} = {value}"
        for name, value in numbers.items()
        if value is not None and not math.isfinite(value)
    ]
    return f"non-finite at {where}: {', '.join(bad)}" if bad else ""


class RecordBuilder:
    """Accumulates one job's events; :meth:`build` may be called once the job has ended.

    Args:
        job: What is run.
        started_ms: Start in milliseconds since the epoch; None is now.

    Attributes:
        waited_ms: Milliseconds in which the job was paused; the owner adds to it.
    """

    def __init__(self, job: Job, *, started_ms: int | None = None) -> None:
        self.job = job
        self.started_ms = now_ms() if started_ms is None else started_ms
        self.waited_ms = 0
        self.finished: Finished | None = None
        self.epochs: list[FinetuneEpoch] = []
        self._snapshots: tuple[ProbeSnapshot, ...] = ()
        self._seconds_hp = 0.0
        self._seconds_ft = 0.0
        self._n_hp_epochs_run = 0

    def add(self, event: Event) -> None:
        """Takes the next event."""
        if isinstance(event, ProbeDone):
            self._snapshots = event.snapshots
            self._seconds_hp += event.seconds
            self._n_hp_epochs_run += event.n_epochs_run
        elif isinstance(event, EpochsDone):
            self.epochs.extend(event.epochs)
            self._seconds_ft += event.seconds
        elif isinstance(event, Finished):
            self.finished = event

    def build(
        self,
        state: State,
        reason: str = "",
        *,
        ended_ms: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> TrialRecord:
        """Returns the record; the numbers of the end only belong to a complete trial.

        Args:
            state: How the job ended.
            reason: Why it was pruned or failed.
            ended_ms: End in milliseconds since the epoch; None is now.
            extra: Further JSON values for ``TrialRecord.extra``.
        """
        return TrialRecord(
            job=self.job,
            state=state,
            reason=redact(reason),  # an error's text may hold an address
            snapshots=self._snapshots,
            epochs=tuple(self.epochs),
            finished=self.finished if state == "COMPLETE" else None,
            seconds_hp=self._seconds_hp,
            seconds_ft=self._seconds_ft,
            n_hp_epochs_run=self._n_hp_epochs_run,
            started_ms=self.started_ms,
            ended_ms=now_ms() if ended_ms is None else ended_ms,
            waited_ms=self.waited_ms,
            extra=extra or {},
        )
