"""Records as pandas tables: one row a trial, and the energy map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from energytune.config import DIMENSIONS
from energytune.training import ProbeSnapshot
from energytune.trial import TrialRecord

__all__ = ["ENERGY_MAP_COLUMNS", "TRIAL_COLUMNS", "energy_map", "trials_frame"]

_ADAPTATION = ("feature_distance", "feature_cosine", "feature_dot", "feature_norm")
_TRAJECTORY = ("head_arch", "label_smoothing", "reinit_depth")

TRIAL_COLUMNS = (
    "number",
    "state",
    "role",
    "seed",
    *DIMENSIONS,
    "hp_train_acc",
    "hp_valid_acc",
    "hp_valid_loss",
    "aie",
    "head_norm",
    "pull_norm",
    "ft_valid_acc",
    "ft_train_acc",
    "best_epoch",
    "n_ft_epochs",
    *_ADAPTATION,
    "test_acc",
    "seconds_hp",
    "seconds_ft",
    "duplicate_of",
    "reason",
    "stop_reason",
)
"""Columns of :func:`trials_frame`."""

ENERGY_MAP_COLUMNS = (
    *_TRAJECTORY,
    "seed",
    "tau",
    "hp_train_acc",
    "hp_valid_acc",
    "hp_valid_loss",
    "aie",
    "head_norm",
    "pull_norm",
)
"""Columns of :func:`energy_map`."""


def trials_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Returns one row a trial, in the order of ``records``.

    Accuracies lie in [0, 1], losses are in nats, times in seconds. ``ft_valid_acc`` is the best
    over the finetuning epochs that were run (also of a pruned trial, where it is no objective),
    ``ft_train_acc`` that of the last epoch. What a trial has not reached is missing (NaN).
    ``reason`` says why a trial was pruned or has failed, ``stop_reason`` why a complete one ended
    by itself after ``n_ft_epochs``; both are empty where there is nothing to say.

    Args:
        records: Trials of a search or of its confirmation.

    Returns:
        A frame with the columns :data:`TRIAL_COLUMNS`.
    """
    frame = pd.DataFrame([_trial_row(r) for r in records], columns=list(TRIAL_COLUMNS))
    # Whole numbers that may be missing stay whole numbers.
    return frame.astype({"best_epoch": "Int64", "duplicate_of": "Int64"})


def energy_map(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Returns what head probing has shown: one row a head trajectory and snapshot epoch.

    Trials whose heads differ in tau only share a trajectory, so each of its epochs is in the
    map once.

    Args:
        records: Trials whose probing has ended; others add nothing.

    Returns:
        A frame with the columns :data:`ENERGY_MAP_COLUMNS`, sorted by trajectory, then tau.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        recipe = record.job.recipe
        trajectory = {name: getattr(recipe, name) for name in _TRAJECTORY}
        for snapshot in record.snapshots:
            row = {**trajectory, "seed": record.job.seed, "tau": snapshot.epoch}
            rows[tuple(row.values())] = row | _probe_columns(snapshot)
    ordered = [rows[key] for key in sorted(rows)]
    return pd.DataFrame(ordered, columns=list(ENERGY_MAP_COLUMNS))


def _probe_columns(snapshot: ProbeSnapshot) -> dict[str, float]:
    return {
        "hp_train_acc": snapshot.train_acc,
        "hp_valid_acc": snapshot.valid_acc,
        "hp_valid_loss": snapshot.valid_loss,
        "aie": snapshot.aie,
        "head_norm": snapshot.head_norm,
        "pull_norm": snapshot.pull_norm,
    }


def _trial_row(record: TrialRecord) -> dict[str, Any]:
    job, finished = record.job, record.finished
    row: dict[str, Any] = {
        "number": job.number,
        "state": record.state,
        "role": job.role,
        "seed": job.seed,
        **job.recipe.to_dict(),
        "n_ft_epochs": len(record.epochs),
        "seconds_hp": record.seconds_hp,
        "seconds_ft": record.seconds_ft,
        "duplicate_of": record.duplicate_of,
        "reason": record.reason,
        "stop_reason": record.stop_reason,
    }
    if record.probe is not None:
        row |= _probe_columns(record.probe)
    if record.epochs:
        row["ft_valid_acc"] = max(epoch.valid_acc for epoch in record.epochs)
        row["ft_train_acc"] = record.epochs[-1].train_acc
    if finished is not None:
        row |= {"ft_valid_acc": finished.objective, "best_epoch": finished.best_epoch}
        row |= {name: finished.adaptation.get(name) for name in _ADAPTATION}
        row["test_acc"] = finished.test.accuracy if finished.test else None
    return row
