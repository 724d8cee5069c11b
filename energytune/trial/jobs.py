"""The small protocols through which Optuna, Ray, MLflow and the display plug in.

A :class:`JobSource` decides what is run and when a trial is stopped (Optuna stands behind it);
an executor takes jobs from it and feeds events back (Ray stands behind that, or the plain loop
:func:`run_inline`); :class:`Observer` watch (MLflow's journal, the terminal).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from enum import Enum
from typing import Protocol

from energytune.trial.records import Event, Job, TrialRecord

__all__ = ["Idle", "JobSource", "Observer", "RunJob", "run_inline"]


class Idle(Enum):
    """Why a source has no job to give."""

    WAIT = "wait"
    """Not now: ask again after a running job has ended."""
    DONE = "done"
    """Never again: the search is over."""


RunJob = Callable[[Job], Generator[Event, None, None]]
"""Runs one job, yielding its events; may be closed early (``GeneratorExit``): pruned or paused."""


class JobSource(Protocol):
    """Decides what is run. Called from one thread of the driver process."""

    def next_job(self) -> Job | Idle:
        """Returns the next job to start now, or why there is none."""
        ...

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes a running job's events in order; returns True to stop it: prune or pause it."""
        ...

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Is told exactly once when a job has ended: finished, stopped, or failed with a reason.

        A job that was paused may be handed out again, with the same id.
        """
        ...


class Observer(Protocol):
    """Watches a search; must return fast and never raise into it."""

    def job_started(self, job: Job) -> None:
        """A job was handed out; not told again when it goes on after a pause."""
        ...

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """A running job has sent events, or was paused (:class:`Paused`)."""
        ...

    def job_ended(self, record: TrialRecord) -> None:
        """A job has ended in any state; a pause is no end."""
        ...


def run_inline(source: JobSource, run_job: RunJob) -> None:
    """Runs all jobs of ``source`` one after the other in this process.

    A failure of a job (any ``Exception``) is told to the source as its reason, and the next job
    is run. The same source under an executor at concurrency 1 sees the same calls.
    """
    while isinstance(job := source.next_job(), Job):
        error = None
        try:
            with closing(run_job(job)) as events:
                for event in events:
                    if source.on_events(job.id, [event]):
                        break
        except Exception as failure:  # a crash in a trial is a FAILED trial
            error = f"{type(failure).__name__}: {failure}"
        source.on_end(job.id, error)
