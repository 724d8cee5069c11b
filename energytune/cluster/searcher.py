"""Ray Tune's searcher over a job source: Ray asks here what to run next."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from energytune.cluster.ledger import JobLedger
from energytune.trial import Idle, Job

__all__ = ["JOB", "JobSearcher"]

JOB = "job"
"""Key of the job in a Ray trial's config."""


class JobSearcher(Searcher):
    """Suggests the ledger's next job; a trial's end reaches the ledger even if Ray lost it."""

    def __init__(self, ledger: JobLedger | None) -> None:
        super().__init__(metric=None, mode=None)
        self._ledger = ledger

    def suggest(self, trial_id: str) -> Any:
        """Returns the next job as a config, None to wait, or ``FINISHED``."""
        job = self._ledger.next_job(trial_id) if self._ledger else Idle.DONE
        if isinstance(job, Job):
            return {JOB: job}
        return Searcher.FINISHED if job is Idle.DONE else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Is called once a trial is over for good: a job still in the book was lost."""
        if self._ledger:
            self._ledger.end(trial_id, lost=True)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: the scheduler forwards events, also those of a stopped trial."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the source is the truth of a search, not Ray's snapshot."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing, see :meth:`save`."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Does nothing, see :meth:`save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the source in the driver: it may hold locks, and Ray must never see it."""
        return {**self.__dict__, "_ledger": None}
