"""The running jobs of a source that stops none of them: their events, their records."""

from __future__ import annotations

from collections.abc import Sequence

from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Job,
    Observer,
    ProbeDone,
    Tested,
    TrialRecord,
)
from energytune.trial.builder import RecordBuilder, non_finite

__all__ = ["RunningJobs"]

_NO_END = "the job ended before it had finished"


class RunningJobs:
    """Builds the records of jobs that run unpruned, and tells the observers.

    Args:
        observers: Told of each job's start and events; its end is the owner's to tell.
    """

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = observers
        self._builders: dict[str, RecordBuilder] = {}
        self._failures: dict[str, str] = {}
        self._tested: dict[str, Tested] = {}

    def __len__(self) -> int:
        """Number of jobs that run."""
        return len(self._builders)

    def start(self, job: Job) -> Job:
        """Takes note of a job that is handed out, and returns it."""
        self._builders[job.id] = RecordBuilder(job)
        for observer in self._observers:
            observer.job_started(job)
        return job

    def take(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True, to stop the job, if a number is not finite."""
        builder = self._builders[job_id]
        taken: list[Event] = []
        for event in events:
            if job_id in self._failures:
                break
            builder.add(event)
            taken.append(event)
            if isinstance(event, Tested):
                self._tested[job_id] = event
            if failure := _failure(event):
                self._failures[job_id] = failure
        if taken:
            for observer in self._observers:
                observer.job_progress(builder.job, taken)
        return job_id in self._failures

    def __contains__(self, job_id: str) -> bool:
        """Whether a job runs."""
        return job_id in self._builders

    def end(self, job_id: str, error: str | None = None) -> tuple[TrialRecord, Tested | None]:
        """Returns the record of a job that has ended, and its test result if it had one.

        Args:
            job_id: The job.
            error: Why it failed; None if it was not told to have failed.

        Returns:
            A record that is COMPLETE if the job has finished or was tested, else FAIL.
        """
        builder, tested = self._builders.pop(job_id), self._tested.pop(job_id, None)
        failure = self._failures.pop(job_id, "")
        wanted = tested if builder.job.role == "test" else builder.finished
        if wanted is not None and not failure:
            return builder.build("COMPLETE"), tested
        return builder.build("FAIL", failure or error or _NO_END), None


def _failure(event: Event) -> str:
    """Returns which number of an event is not finite, ``""`` if all are."""
    if isinstance(event, ProbeDone):
        return next(filter(None, map(non_finite, event.snapshots)), "")
    if isinstance(event, EpochsDone):
        return next(filter(None, map(non_finite, event.epochs)), "")
    return non_finite(event) if isinstance(event, Finished) else ""
