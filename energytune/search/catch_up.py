"""Tells the records and MLflow what a search knew when it was killed, and had not told them yet.

A trial ends in the study first, which is the truth; a confirmation ends in the records first,
which hold it alone. MLflow's journal is told last. A kill in between leaves the later ones behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from energytune.search.records_log import RecordsLog
from energytune.trial import Job, TrialRecord

__all__ = ["catch_up"]


class _Tracking(Protocol):
    def has_told(self, job: Job) -> bool: ...

    def job_ended(self, record: TrialRecord) -> None: ...


def catch_up(trials: Iterable[TrialRecord], log: RecordsLog, tracking: _Tracking) -> int:
    """Tells what is missing; doing it twice changes nothing.

    Args:
        trials: Those that have ended, from the study.
        log: The search's records.
        tracking: Writes MLflow's journal.

    Returns:
        Number of records that were told.

    Raises:
        OutputError: The records can't be written.
    """
    known = log.ended()
    n_told = 0
    trials = list(trials)
    for record in trials:
        if (record.job.id, record.state) not in known:
            log.job_ended(record)
            n_told += 1
    for record in [*trials, *_confirmed(log.confirmations())]:
        if not tracking.has_told(record.job):
            tracking.job_ended(record)
            n_told += 1
    return n_told


def _confirmed(confirmations: Iterable[TrialRecord]) -> Iterator[TrialRecord]:
    """Yields each confirmation as it ended, then the test of it if there was one."""
    for record in confirmations:
        test = record.finished.test if record.finished else None
        if record.finished is None or test is None:
            yield record
            continue
        yield replace(record, finished=replace(record.finished, test=None))
        job = replace(record.job, id=f"{record.job.id}-test", role="test", tested=record.job.id)
        yield replace(record, job=job)
