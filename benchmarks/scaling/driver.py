"""The driver of a search as it is, with its study, journals and records on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_scale import SPACE, energy_map

from energytune.cluster.ledger import JobLedger
from energytune.optimizer import StudySource, make_halving, make_sampler, open_study
from energytune.optimizer.energy_lookup import MapLookup
from energytune.optimizer.suggest import distributions
from energytune.search.records_log import RecordsLog
from energytune.tracking import TrackingJournal, TrackingObserver
from scaling.timers import Parts

__all__ = ["Syncs", "make_driver"]

_N_CONFIRM_RECIPES, _N_VALID = 3, 400


class Syncs:
    """Counts the driver's waits for the disk instead of making them: this machine's may be busy.

    Attributes:
        n: Calls of ``os.fsync`` from the thread that made this object.
    """

    def __init__(self) -> None:
        self.n = 0
        self._thread = threading.get_ident()
        self._real = os.fsync

    def __enter__(self) -> Syncs:
        """Replaces ``os.fsync``."""
        os.fsync = self._count
        return self

    def __exit__(self, *_error: object) -> None:
        """Puts it back."""
        os.fsync = self._real

    def _count(self, _file: Any) -> None:
        self.n += threading.get_ident() == self._thread


def make_driver(
    folder: Path, n_workers: int, n_trials: int, now_s: Callable[[], float], seed: int
) -> tuple[JobLedger, StudySource, Parts]:
    """Makes the driver of a search with default settings.

    Args:
        folder: Where its files go.
        n_workers: Jobs at once.
        n_trials: Trials to begin.
        now_s: The time, for MLflow's journal.
        seed: Of the search.

    Returns:
        The ledger that Ray's callbacks ask, the source behind it, and the times of their parts.
    """
    parts = Parts()
    pruner, rungs = make_halving("energy", SPACE.finetune.epochs)
    lookup = MapLookup(energy_map(), SPACE)
    sampler = make_sampler("energy", seed, energy=lookup, space=distributions(SPACE))
    study = open_study(f"journal://{folder / 'journal'}", "scale", sampler=sampler, pruner=pruner)
    tracking = TrackingObserver(
        TrackingJournal(folder / "tracking.jsonl"),
        "scale",
        "synthetic",
        "synthetic",
        {"ft_epochs": SPACE.finetune.epochs},
        clock=now_s,
    )
    records = RecordsLog(folder / "records.jsonl")
    parts.time("sampler", sampler, "sample_relative")
    parts.time("pruner", pruner, "explain")
    parts.time("records", records, "job_ended")
    parts.time("MLflow journal", tracking, "job_started", "job_progress", "job_ended")
    parts.time("study's storage", study._storage, "_write_log", "get_all_trials", "get_trial")
    parts.time("study's storage", study._storage, "_sync_with_backend")
    source = StudySource(
        study,
        SPACE,
        n_trials=n_trials,
        seed=seed,
        rungs=rungs,
        n_finalists=_N_CONFIRM_RECIPES,
        n_valid=_N_VALID,
        observers=[records, tracking],
    )
    ledger = JobLedger(source, n_workers)
    parts.time("the rest", ledger, "next_job", "deliver", "end")
    parts.seconds.clear()
    return ledger, source, parts
