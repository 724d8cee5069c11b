"""The last stage of a search as a source of jobs: test is read, once a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace

from energytune.optimizer.running import RunningJobs
from energytune.trial import Event, Idle, Job, Observer, TrialRecord

__all__ = ["FinalSource"]


class FinalSource:
    """A :class:`~energytune.trial.JobSource` that evaluates confirmed models on test.

    A model that was tested before is not tested again. The record of a ``"test"`` job, which the
    observers are told, is that of its confirmation with the test result in it.

    Args:
        records: Complete confirmation runs of the winner and the baselines.
        retrain: Ids of those whose weights are wanted and gone: a tested one is run again, with
            the result that it had; one that is not tested yet is trained by its test job.
        observers: Told of each job.
    """

    def __init__(
        self,
        records: Sequence[TrialRecord],
        *,
        retrain: Collection[str] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self._observers = observers
        self._jobs = RunningJobs(observers)
        self._records = {record.job.id: record for record in records}
        self._waiting: deque[Job] = deque()
        for job_id, record in self._records.items():
            if record.finished is None:
                continue
            if record.finished.test is None:
                job = replace(record.job, id=f"{job_id}-test", role="test", tested=job_id)
                self._waiting.append(job)
            elif job_id in retrain:
                self._waiting.append(record.job)

    @property
    def records(self) -> list[TrialRecord]:
        """The confirmation runs, with their test results as far as they are there."""
        return list(self._records.values())

    def next_job(self) -> Job | Idle:
        """Returns the next job, ``WAIT`` while the last ones run, then ``DONE``."""
        if self._waiting:
            return self._jobs.start(self._waiting.popleft())
        return Idle.WAIT if len(self._jobs) else Idle.DONE

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True only if a number is not finite."""
        return self._jobs.take(job_id, events)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Puts the test result into the confirmation's record; a failure leaves it without."""
        record, tested = self._jobs.end(job_id, error)
        key = record.job.tested or record.job.id
        confirmation = self._records[key]
        # What was trained again is the model that is kept and was tested.
        finished = record.finished or confirmation.finished
        if record.state == "COMPLETE" and finished is not None:
            before = confirmation.finished.test if confirmation.finished else None
            finished = replace(finished, test=tested.test if tested else before)
            record = replace(record, finished=finished)
            self._records[key] = replace(confirmation, finished=finished)
        for observer in self._observers:
            observer.job_ended(record)
