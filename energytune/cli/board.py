"""What is known of a running search: the state behind every display, without any drawing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from energytune.trial import EpochsDone, Event, Job, Paused, ProbeDone, Probing, TrialRecord

__all__ = ["Board", "Row"]

Phase = Literal["probing", "finetuning", "waiting", "COMPLETE", "PRUNED", "FAIL"]
_ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass
class Row:
    """One trial as it stands.

    Attributes:
        job: What runs.
        phase: ``"probing"``, ``"finetuning"``, ``"waiting"`` where it is paused, or the state in
            which it ended.
        hp_epoch: Probing epoch of the last snapshot.
        aie: Energy at the last snapshot; None before the first.
        hp_train_acc: HP-train-accuracy in [0, 1] there; None before the first.
        ft_valid_acc: Best validation accuracy so far, in [0, 1]; None before the first epoch.
        n_epochs: Finetuning epochs so far.
        reason: Why it was pruned or failed.
        stop_reason: Why a complete trial ended by itself before its last epoch.
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
    stop_reason: str = ""
    duplicate_of: int | None = None

    @property
    def running(self) -> bool:
        """Whether a job of the trial runs: it has not ended and does not wait."""
        return self.phase in ("probing", "finetuning")

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of the search: no confirmation, no test, no repetition."""
        return self.job.is_trial and self.duplicate_of is None


class Board:
    """Rows of all trials, the best so far, and how long it will take.

    Args:
        n_trials: Trials the search wants.
        n_ft_epochs: Finetuning epochs of a complete trial.
        n_confirm: Confirmation runs that follow the search, at most: what is beaten needs fewer.
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
        self._rested_here: set[str] = set()
        self._last_role = ""
        self._rows: dict[str, Row] = {}

    def started(self, job: Job) -> Row:
        """Takes note of a job that was handed out."""
        self._last_role = job.role
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
            elif isinstance(event, Paused):
                row.phase = "waiting"
                self._rested_here.add(job.id)
            elif isinstance(event, EpochsDone):
                row.phase = "finetuning"
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
            self._rested_here.add(record.job.id)
        row = Row(
            job=record.job,
            phase="FAIL" if record.state == "RUNNING" else record.state,
            n_epochs=len(record.epochs),
            reason=record.reason,
            stop_reason=record.stop_reason,
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

    def end_of(self, row: Row) -> str:
        """Returns how a trial has ended, or where it waits, in words.

        ``"waits at 16/200"``, ``"complete"``, ``"stopped at 63/200"`` if it ended by itself,
        ``"pruned at 17/200"`` or ``"pruned before FT"``, ``"failed"``.
        """
        at = f"at {row.n_epochs}/{self.n_ft_epochs}"
        if row.phase == "waiting":
            return f"waits {at}"
        if row.phase == "COMPLETE":
            # A test job has no epochs, and the record of the finetune that it tests.
            return f"stopped {at}" if row.stop_reason and row.n_epochs else "complete"
        if row.phase == "PRUNED":
            if row.duplicate_of is not None:  # not run: its epochs are the other trial's
                return "pruned"
            return f"pruned {at}" if row.n_epochs else "pruned before FT"
        return "failed"

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
        complete = [row for row in self._rows.values() if row.phase == "COMPLETE" and row.is_trial]
        return max(complete, key=lambda row: row.ft_valid_acc or 0.0, default=None)

    @property
    def n_ended(self) -> int:
        """Trials of the search that have ended; repetitions don't count."""
        return sum(row.is_trial and row.phase in _ENDED for row in self._rows.values())

    @property
    def n_waiting(self) -> int:
        """Trials that wait."""
        return sum(row.phase == "waiting" for row in self._rows.values())

    @property
    def n_rested(self) -> int:
        """Trials of the search that have ended, or have waited: the search knows of them."""
        return sum(
            row.is_trial and (not row.running or row.job.id in self._rested_here)
            for row in self._rows.values()
        )

    @property
    def n_confirmed(self) -> int:
        """Confirmation runs that have ended."""
        return sum(not r.running and r.job.role == "confirm" for r in self._rows.values())

    @property
    def confirming(self) -> bool:
        """Whether confirmation goes on: the last job handed out was one of it, or a test.

        A search may confirm its baselines first and then go on.
        """
        return self._last_role in ("confirm", "test")

    @property
    def testing(self) -> bool:
        """Whether confirmed models are being tested: nothing is trained any more."""
        return any(row.job.role == "test" for row in self._rows.values())

    def eta_s(self) -> float | None:
        """Returns the seconds left at the pace so far, confirmation included.

        A time budget bounds it. None until two trials have ended or waited: one tells no pace.
        """
        if self._first_event is None or len(self._rested_here) < 2:
            return None
        now = self._clock()
        left = 0 if self.testing else max(0, self.n_confirm - self.n_confirmed)
        if not self.confirming:
            left += max(0, self.n_trials - self.n_rested)
        eta = (now - self._first_event) / len(self._rested_here) * left
        if self._time_budget_s is None:
            return eta
        return min(eta, max(0.0, self._time_budget_s - (now - self._opened)))
