"""What runs in a worker process: one job after the other, a report at a time."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray import tune

from energytune.cluster.searcher import JOB
from energytune.trial import EpochsDone, Event, Finished, Job, ProbeDone, RunJob

if TYPE_CHECKING:
    from energytune.training.process_state import ProcessState

__all__ = ["ENDED", "ERROR", "EVENTS", "JobWorker", "WorkerSettings"]

EVENTS, ENDED, ERROR = "events", "job_ended", "job_error"
"""Keys of a report. Ray's own key ``done`` would end a trial without asking the scheduler."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker reports and computes.

    Attributes:
        flush_epochs: Finetuning epochs after which a report is sent at once (decisions fall).
        min_report_s: Seconds after which a report is sent at the next event, >= 0.
        n_threads: CPU threads of torch, >= 1.
    """

    flush_epochs: frozenset[int]
    min_report_s: float
    n_threads: int

    def flushes(self, event: Event) -> bool:
        """Tells whether the driver must see ``event`` before the job goes on."""
        if isinstance(event, EpochsDone):
            return any(epoch.epoch in self.flush_epochs for epoch in event.epochs)
        return isinstance(event, ProbeDone)


class JobWorker(tune.Trainable):
    """Runs jobs in one process, which lives as long as the search."""

    def setup(
        self,
        config: dict[str, Any],
        make_run_job: Callable[[], RunJob] | None = None,
        settings: WorkerSettings | None = None,
    ) -> None:
        """Takes the first job; nothing is built yet, so that nothing can fail here.

        A failure in here would count as a lost worker. In :meth:`step` it is a failed job.
        """
        if make_run_job is None or settings is None:
            raise TypeError("JobWorker needs make_run_job and settings (tune.with_parameters).")
        self._make_run_job = make_run_job
        self._settings = settings
        self._run_job: RunJob | None = None
        self._events: Generator[Event, None, None] | None = None
        self._clean: ProcessState | None = None
        self._job: Job | None = config[JOB]
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # read when torch is imported
            os.environ[name] = str(settings.n_threads)
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # a job keeps one working directory

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next job. The one before is cleaned up by the first :meth:`step`."""
        self._job = new_config[JOB]
        return True

    def step(self) -> dict[str, Any]:
        """Advances the job until a report is due.

        Returns:
            ``events``: the events since the last report; ``job_ended``: whether they are the
            last; ``job_error``: None, or why the job failed.
        """
        told: list[Event] = []
        error = None
        due = time.monotonic() + self._settings.min_report_s
        try:
            if self._job is not None:
                self._begin(self._job)
            for event in self._events or ():
                told.append(event)
                if isinstance(event, Finished):
                    continue  # the last event: let the job return by itself
                if self._settings.flushes(event) or time.monotonic() >= due:
                    return {EVENTS: told, ENDED: False, ERROR: None}
        except Exception as failure:  # a crash in a job is a failed job, not a lost worker
            error = f"{type(failure).__name__}: {failure}"
        self._release()
        return {EVENTS: told, ENDED: True, ERROR: error}

    def cleanup(self) -> None:
        """Closes a job that was stopped."""
        self._release()

    def _begin(self, job: Job) -> None:
        """Cleans up after the job before and starts ``job``."""
        self._job = None
        self._release()
        if self._run_job is None:
            self._run_job = self._make_run_job()
            gc.collect()
            gc.freeze()  # what lives for ever need not be searched after every job
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._settings.n_threads)
            if self._clean is None:
                self._clean = _process_state()
        self._events = self._run_job(job)

    def _release(self) -> None:
        """Closes the job's generator, puts global state back and frees memory, the GPU's too."""
        events, self._events = self._events, None
        if events is None:
            return
        with contextlib.suppress(Exception):  # its end has been told; the next job must run
            events.close()
        del events
        if self._clean is not None:
            self._clean.restore()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _process_state() -> ProcessState:
    """Takes the state of a process that has torch loaded; this module is loaded without it."""
    from energytune.training.process_state import ProcessState

    return ProcessState.now()
