"""A source of jobs that is asked and told only while something holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from energytune.trial.jobs import Idle, JobSource
from energytune.trial.records import Event, Job

__all__ = ["GuardedSource"]


class GuardedSource:
    """A :class:`~energytune.trial.JobSource` in front of another one.

    Args:
        source: The other one.
        check: Called before each call; what it raises ends the search, and the other source hears
            no more: not even that jobs have ended, which may be another search's by now.
    """

    def __init__(self, source: JobSource, check: Callable[[], object]) -> None:
        self._source, self._check = source, check

    def next_job(self) -> Job | Idle:
        """Returns the source's next job."""
        self._check()
        return self._source.next_job()

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Hands events on; returns whether the job is stopped."""
        self._check()
        return self._source.on_events(job_id, events)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Tells that a job has ended."""
        self._check()
        self._source.on_end(job_id, error)
