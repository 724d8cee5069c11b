"""Several suggestions from one look at the study, for searches with very many trials at once.

Fitting a model and drawing candidates takes a tenth of a second or two. One trial after the other
that is nothing; before hundreds of workers it is all that the driver does. There a suggestion is
made without knowing what hundreds of running trials will come to, so it loses little if it does
not know the few that have ended since the last look. Picks of one look repel each other as
running trials do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from energytune.optimizer.candidate_pool import Pool
from energytune.optimizer.outcomes import Outcome
from energytune.optimizer.surrogate import Surrogate, expected_improvement, fit_surrogate

__all__ = ["Ahead", "Pick", "most_promising", "n_at_once"]

RUNNING_A_PICK = 8
"""One pick of a look for each so many running trials; with fewer, each suggestion looks anew."""

Pick = tuple[dict[str, Any], float | None]
"""Parameters, and the improvement that the model expects of them; None where no model chose."""


def n_at_once(trials: Sequence[FrozenTrial]) -> int:
    """Returns how many picks one look is to give, >= 1.

    Args:
        trials: Begun; one that is RUNNING and is paused (user attribute ``paused``) does not run.
    """
    n_running = sum(t.state == TrialState.RUNNING and "paused" not in t.user_attrs for t in trials)
    return max(1, n_running // RUNNING_A_PICK)


class Ahead:
    """Picks that were made ahead, by study; a copy of it, a pickled one too, has none."""

    def __init__(self) -> None:
        self._picks: WeakKeyDictionary[BaseStorage, dict[Any, deque[Pick]]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[Ahead], tuple[()]]:
        """Leaves out the picks."""
        return type(self), ()

    def take(self, study: Study, names: frozenset[str]) -> Pick | None:
        """Returns the next pick of parameters called ``names``, None if there is none left."""
        waiting = self._picks.get(study._storage, {}).get((study._study_id, names))
        try:
            return waiting.popleft() if waiting else None
        except IndexError:  # another thread was faster
            return None

    def put(self, study: Study, names: frozenset[str], picks: Sequence[Pick]) -> None:
        """Keeps picks for later."""
        of_storage = self._picks.setdefault(study._storage, {})
        of_storage[study._study_id, names] = deque(picks)


def most_promising(pool: Pool, seen: Sequence[Outcome], n: int = 1) -> list[tuple[int, float]]:
    """Returns places of candidates of highest expected improvement, each with that.

    Each of several is chosen as if those before it were running.

    Args:
        pool: With at least one candidate.
        seen: What its ``seen`` have come to, in its order, at least one value among them.
        n: Picks, >= 1; fewer if there are fewer candidates.
    """
    model = _fitted(pool, seen)
    if n == 1:
        mean, deviation = model.predict(pool.points)
        return [_best(expected_improvement(mean, deviation, model.best))]
    beliefs = model.beliefs(pool.points)
    picks: list[tuple[int, float]] = []
    for _ in range(min(n, len(pool.params))):
        improvement = expected_improvement(beliefs.mean, beliefs.deviation, model.best)
        improvement[[place for place, _ in picks]] = -1.0
        picks.append(_best(improvement))
        beliefs.pretend(picks[-1][0])
    return picks


def _best(improvement: NDArray[np.float64]) -> tuple[int, float]:
    place = int(np.argmax(improvement))
    return place, float(improvement[place])


def _fitted(pool: Pool, seen: Sequence[Outcome]) -> Surrogate:
    values = [o.value for o in seen if o.value is not None]
    worst = min(values)
    told = [i for i, o in enumerate(seen) if o.value is not None or o.failed]
    points = pool.seen[told]
    observed: NDArray[np.float64] = np.array(
        [worst if (value := seen[i].value) is None else value for i in told]
    )
    doubt = np.array([seen[i].doubt for i in told])
    model = fit_surrogate(points, observed, doubt)
    running = [i for i, o in enumerate(seen) if o.value is None and not o.failed]
    if running:  # so that others go elsewhere
        model = model.pretending(pool.seen[running])
    return model
