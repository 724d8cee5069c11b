"""Reading a study of very many trials over and over: each finished trial once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

__all__ = ["FinishedTrials"]

Kept = TypeVar("Kept")


@dataclass
class _Read(Generic[Kept]):
    began: datetime | None
    kept: Kept
    n_listed: int = 0
    unfinished: Sequence[int] = ()


class FinishedTrials(Generic[Kept]):
    """What was gathered from the trials of studies; each finished one is read once.

    A finished trial never changes, so this is the same as reading all of them at each call. A
    copy, a pickled one too, starts empty and reads anew.

    Args:
        empty: What no trial gives.
        add: Returns what some more trials of a study give, without changing what it was given.
    """

    def __init__(
        self, empty: Kept, add: Callable[[Study, Kept, Iterable[FrozenTrial]], Kept]
    ) -> None:
        self._empty, self._add = empty, add
        self._lock = Lock()
        # By storage object, not by name: two studies in memory may share their name and id.
        self._read: WeakKeyDictionary[BaseStorage, dict[int, _Read[Kept]]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[FinishedTrials[Kept]], tuple[Any, ...]]:
        """Leaves out what was read."""
        return type(self), (self._empty, self._add)

    def read(self, study: Study) -> Kept:
        """Returns what all trials of ``study`` give, in any state, in no particular order."""
        with self._lock:
            trials = study.get_trials(deepcopy=False)
            began = trials[0].datetime_start if trials else None
            studies = self._read.setdefault(study._storage, {})
            read = studies.get(study._study_id)
            if read is None or read.began != began:  # a new study may get a deleted one's id
                read = studies[study._study_id] = _Read(began, self._empty)
            # By place in the list, which is the number: so it touches none that was read.
            places = (*read.unfinished, *range(read.n_listed, len(trials)))
            ended: list[FrozenTrial] = []
            running: list[FrozenTrial] = []
            for place in places:
                trial = trials[place]
                (ended if trial.state.is_finished() else running).append(trial)
            read.kept = self._add(study, read.kept, ended)
            read.unfinished = [trial.number for trial in running]
            read.n_listed = len(trials)
            return self._add(study, read.kept, running)
