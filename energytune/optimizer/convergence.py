"""When a search has converged: what it still expects to gain is lost in the seed's noise.

A sampler with a model says with each suggestion which improvement of the best objective it
expects. Once that is small against the spread that the seed alone makes, a further trial can find
nothing that a confirmation could tell from chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from energytune.errors import ConfigError
from energytune.optimizer.attrs import counts

__all__ = ["EXPECTED_IMPROVEMENT", "StudyConvergence", "converged", "decisions"]

EXPECTED_IMPROVEMENT = "energytune:expected_improvement"
"""System attribute of a trial: the improvement of the best objective, in its unit and >= 0, that
the sampler expected of it; absent where no model has chosen it."""

_N_LAST = 3


def converged(
    expected_improvements: Sequence[float], deviation: float, n_last: int = _N_LAST
) -> bool:
    """Returns whether the last ``n_last`` expected improvements are all below half a deviation.

    One low value may be an accident of the model; several in a row are a verdict. A value that is
    not finite or equals the half is not below.

    Args:
        expected_improvements: One per decision of the sampler, oldest first, in accuracy.
        deviation: Standard deviation of the objective between seeds, >= 0, in accuracy.
        n_last: Decisions that must agree, >= 1; with fewer there is no verdict yet.

    Raises:
        ConfigError: If ``deviation`` is negative or not finite, or ``n_last`` below 1.
    """
    if not (math.isfinite(deviation) and deviation >= 0):
        raise ConfigError(
            f"deviation must be finite and >= 0. Got {deviation}. Measure it on repeated runs."
        )
    if n_last < 1:
        raise ConfigError(f"n_last must be at least 1. Got {n_last}. Ask for one decision or more.")
    last = expected_improvements[-n_last:]
    return len(last) == n_last and all(value < deviation / 2 for value in last)


def decisions(study: Study, n_last: int) -> list[float]:
    """Returns the expected improvements of the last ``n_last`` decisions, oldest first.

    A decision is a trial that a model has chosen and that was begun. Enqueued trials and repeats
    that were not run are none; an interrupted trial is one only when it is run again.

    Args:
        study: A study that a sampler fills which stores :data:`EXPECTED_IMPROVEMENT`.
        n_last: Most decisions to return, >= 1.
    """
    trials = study.get_trials(deepcopy=False)
    found: list[float] = []
    for trial in reversed(trials):  # from the end: a study may have thousands of trials
        if len(found) == n_last:
            break
        if counts(trial):
            value = _improvement(trials, trial)
            found += [] if value is None else [value]
    return found[::-1]


def _improvement(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> float | None:
    """Returns what was expected of ``trial``, or of the first of its interrupted runs."""
    while "retry_of" in trial.user_attrs:
        trial = trials[trial.user_attrs["retry_of"]]
    if "fixed_params" in trial.system_attrs:  # enqueued: the sampler was asked, not followed
        return None
    value = trial.system_attrs.get(EXPECTED_IMPROVEMENT)
    return None if value is None else float(value)


class StudyConvergence:
    """A limit of :class:`~energytune.optimizer.StudySource`: ends a search that has converged.

    It reads the study alone, so a search that is continued stays converged.

    Args:
        study: See :func:`decisions`.
        deviation: Returns the seed deviation of the objective in accuracy; None while it is not
            known, and then nothing converges.
    """

    def __init__(self, study: Study, deviation: Callable[[], float | None]) -> None:
        self._study, self._deviation = study, deviation

    def __call__(self) -> str:
        """Returns ``"converged: ..."`` with the numbers, ``""`` while the search pays."""
        deviation = self._deviation()
        if deviation is None:
            return ""
        last = decisions(self._study, _N_LAST)
        if not converged(last, deviation):
            return ""
        told = ", ".join(f"{value:.4f}" for value in last)
        return (
            f"converged: expected improvement {told} below {deviation / 2:.4f}, half the seed "
            "deviation"
        )
