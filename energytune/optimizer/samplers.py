"""Samplers by name, seeded per trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from energytune.errors import unknown_name
from energytune.optimizer.energy_features import EnergyLookup
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.warm_start import WarmStart

__all__ = ["SAMPLERS", "PerTrialSampler", "Sampler", "make_sampler"]

Sampler = BaseSampler
"""What a study samples with; for rooms that don't import Optuna."""


def _tpe(seed: int) -> BaseSampler:
    # Both are pinned: their defaults have changed between versions of Optuna.
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _energy(seed: int) -> BaseSampler:
    return EnergySampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "random": _random,
    "energy": _energy,
}
"""All samplers: name -> maker from a seed."""


class PerTrialSampler(BaseSampler):
    """Gives every trial a fresh sampler whose seed depends on (seed, trial number) only.

    So a suggestion is a function of the seed and of what the study holds: a continued search
    suggests what an uninterrupted one would have, instead of its first random picks again.

    Args:
        make: Makes a sampler from a seed in [0, 2**32).
        seed: Seed of the search, >= 0.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._by_number: dict[int, BaseSampler] = {}
        self._not_drawn: dict[int, set[str]] = {}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._by_number:
            words = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
            self._by_number[trial.number] = self._make(int(words[0]))
        return self._by_number[trial.number]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns the dimensions that are sampled jointly."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Samples ``search_space`` jointly."""
        sampled = self._of(trial).sample_relative(study, trial, search_space)
        self._not_drawn[trial.number] = {*sampled, *trial.system_attrs.get("fixed_params", ())}
        return sampled

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Samples one dimension by itself.

        Where the process was killed between two dimensions, those that the study has are drawn
        once more first, so that this one is what it would have been.
        """
        sampler = self._of(trial)
        if (skipped := self._not_drawn.pop(trial.number, None)) is not None:
            for name, distribution in trial.distributions.items():
                if name not in skipped:
                    sampler.sample_independent(study, trial, name, distribution)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Is called before anything is sampled for ``trial``."""
        self._of(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Is called when ``trial`` is told; forgets its sampler."""
        self._of(trial).after_trial(study, trial, state, values)
        self._by_number.pop(trial.number, None)
        self._not_drawn.pop(trial.number, None)


def make_sampler(
    name: str,
    seed: int,
    *,
    energy: EnergyLookup | None = None,
    space: Mapping[str, BaseDistribution] | None = None,
    warm_start: WarmStart | None = None,
) -> BaseSampler:
    """Returns a sampler.

    Args:
        name: ``"tpe"`` (multivariate, constant liar), ``"gp"``, ``"random"`` or ``"energy"``.
        seed: >= 0; the same seed and study give the same suggestion in every process.
        energy: What ``"energy"`` knows of parameters before they are run; the others don't ask.
        space: What ``"energy"`` samples jointly from the first trial on,
            :func:`~energytune.optimizer.suggest.distributions`; the others find it out.
        warm_start: Earlier searches that ``"energy"`` asks first; the others don't.

    Raises:
        UnknownNameError: If there is no sampler of that name.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    make = SAMPLERS[name]
    if name == "energy":
        make = EnergySampler(energy, space=space, warm_start=warm_start).reseeded
    return PerTrialSampler(make, seed)
