"""A search whose baselines are repeated on further seeds, to know the seed's noise while it runs.

The repeats are the first runs of the later confirmation, done early: the same recipes, seeds and
roles. They are no trials of the study, where they would look to the sampler like new evidence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from energytune.optimizer.candidates import confirm_job
from energytune.optimizer.running import RunningJobs
from energytune.optimizer.source import StudySource
from energytune.science.noise import seed_noise
from energytune.trial import Event, Idle, Job, Observer, TrialRecord

__all__ = ["BaselineRepeats"]


class BaselineRepeats:
    """A :class:`~energytune.trial.JobSource`: a search with its baselines' repeats.

    Once every baseline has ended, the complete ones are run on ``seeds``, before any further
    trial; trials that are running go on beside them. Repeats are not pruned. Nothing is repeated
    if the search has ended by then, for the confirmation follows.

    Args:
        search: The search; its limits may ask :meth:`deviation`.
        seeds: Seeds of initialisation and batch order, the first of the confirmation's.
        earlier: Complete confirmation runs of earlier starts; what is there is not run again.
        observers: Told of each repeat; the search has its own.
    """

    def __init__(
        self,
        search: StudySource,
        seeds: Sequence[int],
        *,
        earlier: Sequence[TrialRecord] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self._search = search
        self._seeds = tuple(dict.fromkeys(seeds))
        self._observers = observers
        self._jobs = RunningJobs(observers)
        self._waiting: deque[Job] | None = None
        self._complete = {
            (record.job.recipe.key(), record.job.seed): record
            for record in earlier
            if record.job.seed in self._seeds
        }

    @property
    def complete(self) -> list[TrialRecord]:
        """Repeats that are complete, those of earlier starts included."""
        return [record for baseline in self._baselines() for record in self._runs(baseline)]

    def deviation(self) -> float | None:
        """Returns the seed deviation of the objective, >= 0, in accuracy.

        It is pooled over the baselines, each with its trial and its repeats. None until all
        repeats have ended, so that it does not depend on their order, and if none is complete.
        """
        if self._waiting is None or self._waiting or len(self._jobs):
            return None
        groups: dict[Hashable, list[float]] = {
            baseline.job.recipe.key(): [
                record.objective
                for record in (baseline, *self._runs(baseline))
                if record.objective is not None
            ]
            for baseline in self._baselines()
        }
        noise = seed_noise(groups)
        return None if noise is None else noise.deviation

    def next_job(self) -> Job | Idle:
        """Returns the next repeat or trial, ``WAIT`` while one runs, then ``DONE``."""
        if self._waiting is None and self._search.baselines_ended:
            self._waiting = deque(self._missing())
        if self._waiting and not self._search.has_ended():
            return self._jobs.start(self._waiting.popleft())
        answer = self._search.next_job()
        return Idle.WAIT if answer is Idle.DONE and len(self._jobs) else answer

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; a repeat is stopped only if a number is not finite."""
        taker = self._jobs.take if job_id in self._jobs else self._search.on_events
        return taker(job_id, events)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Keeps a repeat's record if it is complete; a trial's end is the search's."""
        if job_id not in self._jobs:
            self._search.on_end(job_id, error)
            return
        record, _ = self._jobs.end(job_id, error)
        if record.state == "COMPLETE":
            self._complete[record.job.recipe.key(), record.job.seed] = record
        for observer in self._observers:
            observer.job_ended(record)

    def _baselines(self) -> list[TrialRecord]:
        """Returns the complete baselines, one if both are the same recipe."""
        ended = [r for r in self._search.baselines() if r is not None and r.state == "COMPLETE"]
        return list({record.job.recipe.key(): record for record in ended}.values())

    def _runs(self, baseline: TrialRecord) -> list[TrialRecord]:
        """Returns the complete repeats of a baseline, by seed."""
        key = baseline.job.recipe.key()
        ended = (self._complete.get((key, seed)) for seed in self._seeds)
        return [record for record in ended if record is not None]

    def _missing(self) -> list[Job]:
        """Returns what is to be run, seed by seed."""
        return [
            confirm_job(baseline.job.number, baseline.job.recipe, seed)
            for seed in self._seeds
            for baseline in self._baselines()
            if (baseline.job.recipe.key(), seed) not in self._complete
        ]
