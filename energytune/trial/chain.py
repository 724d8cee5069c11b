"""Runs one source of jobs after the other: first the search, then its confirmation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from energytune.trial.jobs import Idle, JobSource
from energytune.trial.records import Event, Job

__all__ = ["ChainSource"]


class ChainSource:
    """A :class:`JobSource` made of several; each begins when all jobs of the last have ended.

    Args:
        factories: One per source, called when its turn has come (so that a confirmation can
            look at the finished search); one that returns None is passed over.
    """

    def __init__(self, factories: Sequence[Callable[[], JobSource | None]]) -> None:
        self._factories = list(factories)
        self._current: JobSource | None = None
        self._owners: dict[str, JobSource] = {}

    def next_job(self) -> Job | Idle:
        """Returns the next job of the current source, moving on when it is done."""
        while self._current is not None or self._factories:
            if self._current is None:
                self._current = self._factories.pop(0)()
                continue
            answer = self._current.next_job()
            if isinstance(answer, Job):
                self._owners[answer.id] = self._current
                return answer
            if answer is Idle.WAIT or self._owners:
                return Idle.WAIT
            self._current = None
        return Idle.DONE

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Hands the events to the source whose job it is."""
        return self._owners[job_id].on_events(job_id, events)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Tells the source whose job it is."""
        self._owners.pop(job_id).on_end(job_id, error)
