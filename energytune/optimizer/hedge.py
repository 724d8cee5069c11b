"""Plain TPE as one of a sampler's opinions, in bounded time."""

from __future__ import annotations

from collections.abc import Container
from copy import deepcopy as deep
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from energytune.optimizer.begun import best_and_latest

__all__ = ["Hedge"]

N_BEST, N_LATEST = 100, 900
"""Trials that TPE is shown of many: each is a kernel of its density, and with 10,000 of them a
suggestion takes almost half a second."""


class Hedge:
    """TPE: multivariate, with constant liar.

    Args:
        seed: In [0, 2**31).
    """

    def __init__(self, seed: int) -> None:
        self._tpe = TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)

    def reseed_rng(self) -> None:
        """Makes this copy differ from others, for several threads."""
        self._tpe.reseed_rng()

    def pick(
        self,
        study: Study,
        trial: FrozenTrial,
        space: dict[str, BaseDistribution],
        begun: list[FrozenTrial],
    ) -> dict[str, Any]:
        """Returns parameters of ``space``, or none if there is no trial to learn from.

        Args:
            study: The trial's.
            trial: To be begun.
            space: Parameter name -> distribution.
            begun: Trials to learn from where the study has very many, by number.
        """
        if len(begun) > N_BEST + N_LATEST:
            few = best_and_latest(begun, study.direction, N_BEST, N_LATEST)
            study = _FewerTrials(study, few)
        return self._tpe.sample_relative(study, trial, space)


class _FewerTrials(Study):
    """A study of which some trials are shown."""

    def __init__(self, study: Study, few: list[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._few = few

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        shown = [trial for trial in self._few if states is None or trial.state in states]
        return deep(shown) if deepcopy else shown
