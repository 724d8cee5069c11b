"""The driver's book of running jobs, between Ray's callbacks and a :class:`JobSource`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from energytune.trial import EpochsDone, Event, Idle, Job, JobSource, ProbeDone, Probing

__all__ = ["INTERRUPTED", "JobLedger"]

INTERRUPTED = "interrupted"
"""The reason that every job is told which runs when a search is stopped."""
_MOST_LOSSES = 3
"""A job that has lost more workers than this without an event in between has failed: it may well
be what kills them. Machines that come and go end no job that gets on."""


@dataclass
class _Entry:
    """A running job and how far its events have been told."""

    job: Job
    probed: bool = False
    last_epoch: int = 0
    failure: str = "its worker was lost"
    n_losses: int = 0

    def unseen(self, events: Sequence[Event]) -> list[Event]:
        """Returns what a restarted job has not told before, and remembers it as told."""
        fresh: list[Event] = []
        for event in events:
            if isinstance(event, Probing | ProbeDone) and self.probed:
                continue
            if isinstance(event, ProbeDone):
                self.probed = True
            elif isinstance(event, EpochsDone):
                epochs = tuple(e for e in event.epochs if e.epoch > self.last_epoch)
                if not epochs:
                    continue
                self.last_epoch = epochs[-1].epoch
                if len(epochs) < len(event.epochs):
                    seconds = event.seconds * len(epochs) / len(event.epochs)
                    event = EpochsDone(epochs, seconds)
            fresh.append(event)
        return fresh


class JobLedger:
    """Hands out jobs, forwards their events once, and tells each job's end exactly once.

    A job whose worker was lost is handed out again, before any new one; the source does not
    notice.

    Searcher and scheduler share one ledger. Ray swallows an exception of its callbacks or dies
    of it; the ledger catches what the source raises, ends the search, and keeps it as
    :attr:`failure` for the caller.

    Attributes:
        failure: What the source raised, None if nothing.
    """

    def __init__(self, source: JobSource, capacity: int) -> None:
        """Starts with no job running.

        Args:
            source: Decides what is run.
            capacity: Most jobs at once, >= 1.
        """
        self.failure: Exception | None = None
        self._source = source
        self._capacity = capacity
        self._running: dict[str, _Entry] = {}
        self._lost: deque[_Entry] = deque()
        self._waiting = False

    def next_job(self, trial_id: str) -> Job | Idle:
        """Returns the job for Ray's trial ``trial_id``, or why there is none now.

        After a WAIT the source is asked again only when a job has ended; if none runs, none can
        end, and the search is done. It is not before: a job that runs may be lost.
        """
        if self.failure is not None:
            return Idle.DONE
        if len(self._running) >= self._capacity:
            return Idle.WAIT
        if self._lost:
            self._running[trial_id] = self._lost.popleft()
            return self._running[trial_id].job
        if self._waiting and self._running:
            return Idle.WAIT
        try:
            job = self._source.next_job()
        except Exception as failure:
            self.failure = failure
            return Idle.DONE
        if isinstance(job, Job):
            self._running[trial_id] = _Entry(job)
            return job
        self._waiting = True
        return Idle.WAIT if self._running else Idle.DONE

    def deliver(self, trial_id: str, events: Sequence[Event]) -> bool:
        """Forwards a running job's new events; returns True if the source stops the job."""
        entry = self._running.get(trial_id)
        if entry is None or self.failure is not None:
            return True
        fresh = entry.unseen(events)
        if not fresh:
            return False
        entry.n_losses = 0
        try:
            return self._source.on_events(entry.job.id, fresh)
        except Exception as failure:
            self.failure = failure
            return True

    def note_failure(self, trial_id: str, reason: str) -> None:
        """Keeps why a worker was lost, for the case that its job is not handed out again."""
        if trial_id in self._running:
            self._running[trial_id].failure = reason

    def end(self, trial_id: str, error: str | None = None, *, lost: bool = False) -> None:
        """Tells the source that a job has ended; a second call for the same job does nothing.

        Args:
            trial_id: Ray's trial.
            error: Why it failed; None if it finished or was stopped.
            lost: Whether its worker was lost: it has not ended then, but for one that has lost
                too many, for the reason that was noted.
        """
        entry = self._running.pop(trial_id, None)
        if entry is None:
            return
        if lost:
            entry.n_losses += 1
            if entry.n_losses <= _MOST_LOSSES:
                self._lost.append(entry)
                return
        self._waiting = False
        try:
            self._source.on_end(entry.job.id, entry.failure if lost else error)
        except Exception as failure:
            self.failure = self.failure or failure

    def end_all(self) -> None:
        """Tells every job that still runs that it was interrupted."""
        for number, entry in enumerate(self._lost):
            self._running[f"lost {number}"] = entry
        self._lost.clear()
        for trial_id in list(self._running):
            self.end(trial_id, INTERRUPTED)
