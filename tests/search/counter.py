"""A watcher of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from energytune.trial import Job, TrialRecord


class Counter:
    """Counts the jobs that were really run."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def job_started(self, job: Job) -> None:
        self.started.append(job.id)

    def job_progress(self, job: Job, events: Sequence[Any]) -> None:
        pass

    def job_ended(self, record: TrialRecord) -> None:
        pass
