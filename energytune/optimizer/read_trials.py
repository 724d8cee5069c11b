"""Reading a study of very many trials over and over: each trial once for each change of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

__all__ = ["ReadTrials"]

Kept = TypeVar("Kept")


@dataclass
class _Read(Generic[Kept]):
    began: datetime | None
    kept: Kept
    n_listed: int = 0
    unfinished: dict[int, FrozenTrial] = field(default_factory=dict)


class ReadTrials(Generic[Kept]):
    """What was gathered from the trials of studies; each is read again only if it has changed.

    A finished trial never changes, and of the others a storage gives another object once
    anything of them was written, so this is the same as reading all of them at each call. (A
    database gives others each time: there all that have not finished are read again.) A copy, a
    pickled one too, starts empty and reads anew.

    Args:
        empty: What no trial gives.
        add: Returns what some more trials of a study give, without changing what it was given.
        drop: Returns what is left without the trials of these numbers, changing nothing either.
    """

    def __init__(
        self,
        empty: Kept,
        add: Callable[[Study, Kept, Iterable[FrozenTrial]], Kept],
        drop: Callable[[Kept, Collection[int]], Kept],
    ) -> None:
        self._empty, self._add, self._drop = empty, add, drop
        self._lock = Lock()
        # By storage object, not by name: two studies in memory may share their name and id.
        self._read: WeakKeyDictionary[BaseStorage, dict[int, _Read[Kept]]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[ReadTrials[Kept]], tuple[Any, ...]]:
        """Leaves out what was read."""
        return type(self), (self._empty, self._add, self._drop)

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
            changed = [
                place for place, seen in read.unfinished.items() if trials[place] is not seen
            ]
            more = [trials[place] for place in (*changed, *range(read.n_listed, len(trials)))]
            kept = self._drop(read.kept, changed) if changed else read.kept
            read.kept = self._add(study, kept, more) if more else kept
            for trial in more:
                if trial.state.is_finished():
                    read.unfinished.pop(trial.number, None)
                else:
                    read.unfinished[trial.number] = trial
            read.n_listed = len(trials)
            return read.kept
