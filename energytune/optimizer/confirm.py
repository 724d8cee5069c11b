"""The confirmation as a source of jobs: a few recipes on several seeds, read on test."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from energytune.config import Recipe
from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Idle,
    Job,
    Observer,
    ProbeDone,
    TrialRecord,
)
from energytune.trial.builder import RecordBuilder, non_finite

__all__ = ["ConfirmSource"]


class ConfirmSource:
    """A :class:`~energytune.trial.JobSource` that runs every recipe on every seed, unpruned.

    A recipe that is there under several roles (the winner may be a baseline) is run once. Jobs
    go seed by seed, so that a search that runs out of time has whole seeds.

    Args:
        recipes: Role name (``"winner"``, ``"baseline_tau_0"``, ...), number of the study's
            trial, recipe.
        seeds: Seeds of initialisation and batch order; repeated ones count once.
        observers: Told of each job.
    """

    def __init__(
        self,
        recipes: Sequence[tuple[str, int, Recipe]],
        seeds: Sequence[int],
        *,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._observers = observers
        self._key_of = {role: recipe.key() for role, _, recipe in recipes}
        unique: dict[str, tuple[int, int, Recipe]] = {}
        for i, (_, number, recipe) in enumerate(recipes):
            unique.setdefault(recipe.key(), (i, number, recipe.canonical()))
        self._waiting = deque(
            Job(f"c{i}-s{seed}", number, recipe, seed, "confirm")
            for seed in dict.fromkeys(seeds)
            for i, number, recipe in unique.values()
        )
        self.n_jobs = len(self._waiting)
        self._running: dict[str, RecordBuilder] = {}
        self._failures: dict[str, str] = {}
        self._records: list[TrialRecord] = []

    @property
    def records(self) -> list[TrialRecord]:
        """Jobs that have ended in any state, by recipe and seed."""
        return sorted(self._records, key=lambda r: (r.job.id.split("-")[0], r.job.seed))

    def by_role(self) -> dict[str, list[TrialRecord]]:
        """Returns the ended jobs of each role name; roles of one recipe share theirs."""
        return {
            role: [record for record in self.records if record.job.recipe.key() == key]
            for role, key in self._key_of.items()
        }

    def next_job(self) -> Job | Idle:
        """Returns the next job, ``WAIT`` while the last ones run, then ``DONE``."""
        if not self._waiting:
            return Idle.WAIT if self._running else Idle.DONE
        job = self._waiting.popleft()
        self._running[job.id] = RecordBuilder(job)
        for observer in self._observers:
            observer.job_started(job)
        return job

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True only if a number is not finite."""
        builder = self._running[job_id]
        taken: list[Event] = []
        for event in events:
            if job_id in self._failures:
                break
            builder.add(event)
            taken.append(event)
            failure = _failure(event)
            if failure:
                self._failures[job_id] = failure
        if taken:
            for observer in self._observers:
                observer.job_progress(builder.job, taken)
        return job_id in self._failures

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Keeps the record: COMPLETE if the job has finished, else FAIL."""
        builder = self._running.pop(job_id)
        failure = self._failures.pop(job_id, "")
        roles = [role for role, key in self._key_of.items() if key == builder.job.recipe.key()]
        extra = {"roles": roles}
        if builder.finished is not None and not failure:
            record = builder.build("COMPLETE", extra=extra)
        else:
            reason = failure or error or "the job ended before it had finished"
            record = builder.build("FAIL", reason, extra=extra)
        self._records.append(record)
        for observer in self._observers:
            observer.job_ended(record)


def _failure(event: Event) -> str:
    if isinstance(event, ProbeDone):
        return next(filter(None, map(non_finite, event.snapshots)), "")
    if isinstance(event, EpochsDone):
        return next(filter(None, map(non_finite, event.epochs)), "")
    return non_finite(event) if isinstance(event, Finished) else ""
