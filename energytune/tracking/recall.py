"""What an earlier start of a search has written into the journal, so that it can go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from energytune.tracking.names import BEST_METRIC

__all__ = ["LeftOpen", "Recalled", "recall"]


@dataclass
class LeftOpen:
    """A run that was begun and has no end: its process was killed.

    Attributes:
        uid: The run's.
        epochs: Finetuning epochs whose points are written.
        probed: Whether the probing curve is.
    """

    uid: str
    epochs: set[int] = field(default_factory=set)
    probed: bool = False


@dataclass
class Recalled:
    """What a journal knows of a search.

    Attributes:
        best: Best objective so far, -inf without one.
        attempts: Runs that were begun, by job.
        states: Runs that have ended, by state.
        left: Runs without an end, by job.
        ended: Jobs whose latest run has ended, and not because the search was interrupted.
        tested: Confirmations whose test result is written.
    """

    best: float = -math.inf
    attempts: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    left: dict[str, LeftOpen] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)


def recall(entries: Iterable[Mapping[str, Any]], parent_uid: str) -> Recalled:
    """Returns what the entries of a journal tell of the search whose parent run is ``parent_uid``.

    Args:
        entries: See :mod:`energytune.tracking.journal`.
        parent_uid: Uids of trials are ``<parent_uid>.<job>`` and ``<parent_uid>.<job>.<attempt>``.
    """
    told = Recalled()
    for entry in entries:
        uid, kind = str(entry["uid"]), entry["kind"]
        metrics = [(str(key), value, step) for key, value, _, step in entry.get("metrics", ())]
        if uid == parent_uid:
            best = (value for key, value, _ in metrics if key == BEST_METRIC)
            told.best = max([told.best, *best])
            continue
        job_id = uid.removeprefix(f"{parent_uid}.").split(".")[0]
        run = told.left.get(job_id)
        is_open = run is not None and run.uid == uid
        if kind == "run" and not is_open:
            told.attempts[job_id] = told.attempts.get(job_id, 0) + 1
            told.left[job_id] = LeftOpen(uid)
            told.ended.discard(job_id)
        elif kind == "log":
            if run is not None and is_open:
                run.epochs |= {int(step) for key, _, step in metrics if key == "ft/valid_acc"}
                run.probed = run.probed or any(key.startswith("hp/") for key, *_ in metrics)
            tags = entry.get("tags") or {}
            if "test_reason" in tags or any(key.startswith("test/") for key, *_ in metrics):
                told.tested.add(job_id)
        elif kind == "end" and is_open:
            del told.left[job_id]
            tags = entry.get("tags") or {}
            if isinstance(state := tags.get("trial_state"), str):
                told.states[state] = told.states.get(state, 0) + 1
            if tags.get("reason") != "interrupted":
                told.ended.add(job_id)
    return told
