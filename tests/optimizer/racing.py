"""Runs of a confirmation made by hand: results by trial number and seed, in any order of ends."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from energytune.config import Recipe
from energytune.optimizer.candidates import Candidate, confirm_job
from energytune.trial import Event, Finished, Idle, Job, JobSource, TestResult, TrialRecord

Results = Mapping[int, Sequence[float | str]]
"""Objective, or why the run failed, by trial number; one per seed."""

SEEDS = (1000, 1001, 1002)


def recipe_of(number: int) -> Recipe:
    return Recipe(tau=number, ft_lr=0.01)


def candidate(number: int, *roles: str, earlier: tuple[float, ...] = ()) -> Candidate:
    return Candidate(number, recipe_of(number), roles or ("candidate",), earlier)


def confirmed(
    number: int, seed: int, objective: float, *, test: TestResult | None = None
) -> TrialRecord:
    finished = Finished(objective, 1, 0.4, {}, test, f"/models/c{number:03d}-s{seed}.safetensors")
    return TrialRecord(confirm_job(number, recipe_of(number), seed), "COMPLETE", finished=finished)


class Watcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[TrialRecord] = []
        self.n_events = 0

    def job_started(self, job: Job) -> None:
        self.started.append(job.id)

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        self.n_events += len(events)

    def job_ended(self, record: TrialRecord) -> None:
        self.ended.append(record)


def run_race(
    source: JobSource,
    results: Results,
    *,
    n_at_once: int = 1,
    order: random.Random | None = None,
    stop_after: int | None = None,
) -> list[Job]:
    """Runs the jobs, ``n_at_once``, ending in random order; returns them as they were begun.

    With ``stop_after`` ends all that runs as interrupted, once so many have ended.
    """
    begun: list[Job] = []
    running: list[Job] = []
    n_ended = 0
    while stop_after is None or n_ended < stop_after:
        while len(running) < n_at_once:
            job = source.next_job()
            if not isinstance(job, Job):
                break
            running.append(job)
            begun.append(job)
        if not running:
            assert source.next_job() is Idle.DONE
            return begun
        job = running.pop(order.randrange(len(running)) if order else 0)
        result = results[job.number][job.seed - SEEDS[0]]
        if isinstance(result, float):
            assert not source.on_events(job.id, [Finished(result, 1, 0.4, {})])
        source.on_end(job.id, result if isinstance(result, str) else None)
        n_ended += 1
    for job in running:
        source.on_end(job.id, "interrupted")
    return begun
