"""What is known of a running search: the state behind every display, without any drawing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from energytune.trial import EpochsDone, Event, Job, ProbeDone, Probing, TrialRecord

__all__ = ["Board", "Row"]

Phase = Literal["probing", "finetuning", "COMPLETE", "PRUNED", "FAIL"]


@dataclass
class Row:
    """One trial as it stands.

    Attributes:
        job: What runs.
        phase: ``"probing"``, ``"finetuning"``, or the state in which it ended.
        hp_epoch: Probing epoch of the last snapshot.
        aie: Energy at the last snapshot; None before the first.
        hp_train_acc: HP-train-accuracy in [0, 1] there; None before the first.
        ft_valid_acc: Best validation accuracy so far, in [0, 1]; None before the first epoch.
        n_epochs: Finetuning epochs so far.
        reason: Why it was pruned or failed.
        duplicate_of: Number of the trial that it repeats.
    """

    job: Job
    phase: Phase = "probing"
    hp_epoch: int = 0
    aie: float | None = None
    hp_train_acc: float | None = None
    ft_valid_acc: float | None = None
    n_epochs: int = 0
    reason: str = ""
    duplicate_of: int | None = None

    @property
    def running(self) -> bool:
        """Whether the trial has not ended."""
        return self.phase in ("probing", "finetuning")


class Board:
    """Rows of all trials, the best so far, and how long it will take.

    Args:
        n_trials: Trials the search wants.
        n_ft_epochs: Finetuning epochs of a complete trial.
        n_confirm: Confirmation runs that follow the search.
        time_budget_s: The search's time budget; None is no limit.
        clock: Seconds, monotonic; tests give their own.
    """

    def __init__(
        self,
        n_trials: int,
        n_ft_epochs: int,
        *,
        n_confirm: int = 0,
        time_budget_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_trials = n_trials
        self.n_ft_epochs = n_ft_epochs
        self.n_confirm = n_confirm
        self._time_budget_s = time_budget_s
        self._clock = clock
        self._opened = clock()
        self._first_event: float | None = None
        self._n_ended_here = 0
        self._rows: dict[str, Row] = {}

    def started(self, job: Job) -> Row:
        """Takes note of a job that was handed out."""
        return self._rows.setdefault(job.id, Row(job))

    def progress(self, job: Job, events: Sequence[Event]) -> Row:
        """Takes note of a running job's events."""
        # Not the first hand-out: workers take long to start, once.
        if self._first_event is None:
            self._first_event = self._clock()
        row = self._rows.setdefault(job.id, Row(job))
        for event in events:
            if isinstance(event, Probing):
                row.hp_epoch = event.snapshot.epoch
                row.aie, row.hp_train_acc = event.snapshot.aie, event.snapshot.train_acc
            elif isinstance(event, ProbeDone):
                row.phase = "finetuning"
                row.aie = event.snapshots[-1].aie
                row.hp_train_acc = event.snapshots[-1].train_acc
            elif isinstance(event, EpochsDone):
                row.n_epochs += len(event.epochs)
                seen = [epoch.valid_acc for epoch in event.epochs]
                row.ft_valid_acc = max(
                    seen if row.ft_valid_acc is None else [row.ft_valid_acc, *seen]
                )
        return row

    def ended(self, record: TrialRecord) -> Row:
        """Takes note of a job's end; the record is the truth, whatever the events told."""
        # Trials of an earlier run of the same search end without having started here.
        if record.job.id in self._rows and record.duplicate_of is None:
            self._n_ended_here += 1
        row = Row(
            job=record.job,
            phase="FAIL" if record.state == "RUNNING" else record.state,
            n_epochs=len(record.epochs),
            reason=record.reason,
            duplicate_of=record.duplicate_of,
        )
        if record.probe is not None:
            row.aie, row.hp_train_acc = record.probe.aie, record.probe.train_acc
        if record.objective is not None:
            row.ft_valid_acc = record.objective
        elif record.epochs:
            row.ft_valid_acc = max(epoch.valid_acc for epoch in record.epochs)
        self._rows[record.job.id] = row
        return row

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order in which the jobs were handed out."""
        return list(self._rows.values())

    def visible(self, n_rows: int) -> list[Row]:
        """Returns at most ``n_rows`` rows in order: the running, the best, the last ended."""
        rows = self.rows
        ranked = sorted(
            range(len(rows)),
            key=lambda i: (not rows[i].running, rows[i] is not self.best, -i),
        )
        return [rows[i] for i in sorted(ranked[: max(n_rows, 1)])]

    @property
    def best(self) -> Row | None:
        """The complete trial of the search with the highest accuracy; the earliest of equals."""
        complete = [
            row
            for row in self._rows.values()
            if row.phase == "COMPLETE" and row.job.role != "confirm" and row.duplicate_of is None
        ]
        return max(complete, key=lambda row: row.ft_valid_acc or 0.0, default=None)

    @property
    def n_ended(self) -> int:
        """Trials of the search that have ended; repetitions don't count."""
        return sum(
            not row.running and row.job.role != "confirm" and row.duplicate_of is None
            for row in self._rows.values()
        )

    @property
    def n_confirmed(self) -> int:
        """Confirmation runs that have ended."""
        return sum(not r.running and r.job.role == "confirm" for r in self._rows.values())

    @property
    def confirming(self) -> bool:
        """Whether the confirmation has begun."""
        return any(row.job.role == "confirm" for row in self._rows.values())

    def eta_s(self) -> float | None:
        """Returns the seconds left at the pace so far, confirmation included.

        A time budget bounds it. None until two trials have ended: one tells no pace.
        """
        if self._first_event is None or self._n_ended_here < 2:
            return None
        now = self._clock()
        left = max(0, self.n_confirm - self.n_confirmed)
        if not self.confirming:
            left += max(0, self.n_trials - self.n_ended)
        eta = (now - self._first_event) / self._n_ended_here * left
        if self._time_budget_s is None:
            return eta
        return min(eta, max(0.0, self._time_budget_s - (now - self._opened)))
