"""Ray Tune's scheduler over a job source: events go in, the decision to stop comes out."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from energytune.cluster.ledger import JobLedger
from energytune.cluster.warm import keep_workers_warm
from energytune.cluster.worker import ENDED, ERROR, EVENTS

__all__ = ["JobScheduler"]


class JobScheduler(FIFOScheduler):
    """Starts trials in the order in which they were suggested; stops those it is told to.

    Attributes:
        tune_controller: Ray Tune's, as it was last given; None before the first trial.
    """

    def __init__(self, ledger: JobLedger | None, n_workers: int) -> None:
        """Keeps up to ``n_workers`` idle workers for later jobs."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self._n_workers = n_workers
        self._warm = False
        self._fresh: list[Trial] = []
        self.tune_controller: Any = None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes a new or restarted trial; Ray itself starts them in this order."""
        super().on_trial_add(tune_controller, trial)
        self._fresh.append(trial)
        self.tune_controller = tune_controller
        if not self._warm:
            self._warm = True
            keep_workers_warm(tune_controller, trial, self._n_workers)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Returns each trial once, the oldest first.

        Returned again, a trial that waits for its worker to start would be moved to the next
        idle one and its own worker ended: with jobs that are shorter than a worker's start, all
        would run on a single worker while others start for ever.
        """
        while self._fresh:
            trial = self._fresh.pop(0)
            if trial.status == Trial.PENDING:
                return trial
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Forwards a report; returns STOP when the job has ended or is to be stopped."""
        if self._ledger is None:
            return str(TrialScheduler.STOP)
        if self._ledger.deliver(trial.trial_id, result[EVENTS]):
            self._ledger.end(trial.trial_id)
            return str(TrialScheduler.STOP)
        if result[ENDED]:
            self._ledger.end(trial.trial_id, result[ERROR])
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Notes why a worker was lost; the searcher hears next that its trial is over."""
        super().on_trial_error(tune_controller, trial)
        if self._ledger is not None:
            self._ledger.note_failure(trial.trial_id, _loss_of(trial))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the source in the driver: it may hold locks, and Ray must never see it."""
        return {**self.__dict__, "_ledger": None, "_fresh": [], "tune_controller": None}


def _loss_of(trial: Trial) -> str:
    """Returns one line on why the worker of ``trial`` was lost."""
    error = trial.get_error()
    said = str(error).strip().splitlines() if error else []
    detail = f" ({type(error).__name__}: {said[0]})" if said else ""
    return f"its worker process died{detail}: killed, or out of memory?"
