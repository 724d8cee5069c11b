"""Which trials of a study a sampler learns from, and which runs have been made.

With 10,000 trials it is this that takes time, so each trial's parameters are read once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from energytune.optimizer.attrs import is_interrupted
from energytune.optimizer.energy_features import EnergyLookup

__all__ = ["N_BEST", "N_LATEST", "Begun", "BegunTrials", "best_and_latest", "told_and_running"]

N_BEST, N_LATEST = 40, 80
"""Trials that a model is fitted to. A process of 120 points takes a tenth of a second to fit, and
the time grows with the cube."""

_Params = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Begun:
    """What a study's trials in one space come to.

    Attributes:
        trials: To learn from, by number: begun, with a legal value of each parameter of the
            space, no repeats that were not run (user attribute ``duplicate_of``), and not
            interrupted, for those are run again.
        keys: Of all runs that were begun, see :class:`~energytune.optimizer.energy_features.Known`.
    """

    trials: list[FrozenTrial]
    keys: set[Hashable]


class BegunTrials:
    """Reads :class:`Begun`; remembers what parameters came to in the latest space.

    That is a function of the parameters alone, so it holds for any trial of any study.
    """

    def __init__(self) -> None:
        self._latest: (
            tuple[EnergyLookup, dict[str, BaseDistribution], dict[_Params, tuple[Hashable, ...]]]
            | None
        ) = None

    def read(
        self, study: Study, space: Mapping[str, BaseDistribution], energy: EnergyLookup
    ) -> Begun:
        """Returns what the trials of ``study`` that have all of ``space`` come to.

        Args:
            study: Any study.
            space: Parameter name -> distribution.
            energy: Tells which runs are the same.
        """
        latest = self._latest
        if latest is None or latest[:2] != (energy, space):
            # One assignment: other threads see the old or the new one.
            self._latest = latest = energy, dict(space), {}
        keys = latest[2]
        trials: list[FrozenTrial] = []
        used: set[Hashable] = set()
        for trial in study.get_trials(deepcopy=False):
            params = tuple(trial.params.items())
            if not params or trial.state == TrialState.WAITING:
                continue
            if params not in keys:
                legal = _has_all(trial.params, space)
                keys[params] = (energy(trial.params).key,) if legal else ()
            if keys[params] and not is_interrupted(trial):
                used.update(keys[params])
                if "duplicate_of" not in trial.user_attrs:
                    trials.append(trial)
        return Begun(trials, used)


def best_and_latest(
    trials: list[FrozenTrial],
    direction: StudyDirection,
    n_best: int = N_BEST,
    n_latest: int = N_LATEST,
) -> list[FrozenTrial]:
    """Returns the best and the latest of many trials; all if they are few.

    Args:
        trials: By number.
        direction: Says which values are better. Any complete trial is better than one that is
            not, for its value is sure; of others, one that has come further.
        n_best: How many of the best.
        n_latest: How many of the latest, >= 1; some of them may be among the best.

    Returns:
        At most ``n_best + n_latest``, by number.
    """
    if len(trials) <= n_best + n_latest:
        return trials
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    best = sorted(trials, key=lambda trial: _merit(trial, sign), reverse=True)[:n_best]
    kept = {trial.number: trial for trial in (*best, *trials[-n_latest:])}
    return [kept[number] for number in sorted(kept)]


def told_and_running(trials: list[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Returns :func:`best_and_latest` of the trials that have told anything, and all others.

    For studies with hundreds of running trials, which are then the latest.

    Args:
        trials: By number.
        direction: See :func:`best_and_latest`.
    """
    mute = [t for t in trials if t.state == TrialState.RUNNING and not t.intermediate_values]
    numbers = {trial.number for trial in mute}
    told = [trial for trial in trials if trial.number not in numbers]
    return sorted([*best_and_latest(told, direction), *mute], key=lambda trial: trial.number)


def _merit(trial: FrozenTrial, sign: float) -> tuple[float, float]:
    """Returns (last step, value), infinite steps for a complete trial; higher is better."""
    step, value = trial.last_step or 0, math.nan
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        value = trial.value
    elif trial.state != TrialState.FAIL and trial.intermediate_values:
        value = trial.intermediate_values[step]
    if not math.isfinite(value):
        return (-math.inf, -math.inf)
    return (math.inf if trial.state == TrialState.COMPLETE else step, sign * value)


def _has_all(params: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> bool:
    """Returns whether there is a legal value of each dimension."""
    return all(name in params and _is_legal(params[name], dist) for name, dist in space.items())


def _is_legal(value: Any, dist: BaseDistribution) -> bool:
    try:
        return dist._contains(dist.to_internal_repr(value))
    except ValueError:  # of another type, or no choice of a categorical one
        return False
