"""Searches that pause: jobs that can go on, and executors that run them."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

from optuna.study import Study

from energytune.optimizer import EnergyPruner, StudySource
from energytune.optimizer.promotion import Rungs
from energytune.optimizer.rungs import no_pruner
from energytune.trial import EpochsDone, Event, Idle, Job, Paused, ProbeDone, TrialRecord
from tests.optimizer.fakes import N_EPOCHS, make_run_job, make_source, memory_study

RUNGS, ETA = (4, 12, 36), 3
RunJob = Callable[[Job], Generator[Event, None, None]]


def pausing_pruner() -> EnergyPruner:
    return EnergyPruner(N_EPOCHS, inner=no_pruner(N_EPOCHS))


def pausing_study(name: str = "random", seed: int = 0) -> Study:
    return memory_study(pausing_pruner(), seed=seed, name=name)


def pausing_source(study: Study, **changes: Any) -> StudySource:
    return make_source(study, **{"rungs": Rungs(RUNGS, ETA), **changes})


def resuming(run_job: RunJob | None = None, ran: list[Job] | None = None) -> RunJob:
    """Makes a job that goes on tell only what it had not told before the pause."""
    whole = run_job or make_run_job()

    def run(job: Job) -> Generator[Event, None, None]:
        if ran is not None:
            ran.append(job)
        for event in whole(job):
            told = isinstance(event, ProbeDone) or (
                isinstance(event, EpochsDone) and event.epochs[-1].epoch <= job.resume_epoch
            )
            if not (job.resume_epoch and told):
                yield event

    return run


def run_one(source: StudySource, job: Job, run_job: RunJob) -> None:
    for event in run_job(job):
        if source.on_events(job.id, [event]):
            break
    source.on_end(job.id)


def run_interleaved(source: StudySource, run_job: RunJob, n_slots: int, seed: int) -> None:
    """Runs ``n_slots`` jobs at once, whose events come in a random order, some at a time."""
    rng = random.Random(seed)
    running: dict[str, Generator[Event, None, None]] = {}
    while True:
        answer = source.next_job() if len(running) < n_slots else Idle.WAIT
        if isinstance(answer, Job):
            assert answer.id not in running
            running[answer.id] = run_job(answer)
            continue
        if not running:
            assert answer is Idle.DONE
            return
        job_id = rng.choice(sorted(running))
        events = [e for e in (next(running[job_id], None) for _ in range(rng.randint(1, 9))) if e]
        if not events or source.on_events(job_id, events):
            del running[job_id]
            source.on_end(job_id)


class Watcher:
    """Notes what observers are told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.paused: list[tuple[str, int]] = []
        self.epochs: dict[str, list[int]] = {}
        self.probed: list[str] = []
        self.ended: list[TrialRecord] = []

    def job_started(self, job: Job) -> None:
        self.started.append(job.id)

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Paused):
                self.paused.append((job.id, event.epoch))
            elif isinstance(event, ProbeDone):
                self.probed.append(job.id)
            elif isinstance(event, EpochsDone):
                self.epochs.setdefault(job.id, []).extend(e.epoch for e in event.epochs)

    def job_ended(self, record: TrialRecord) -> None:
        self.ended.append(record)
