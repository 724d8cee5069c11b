"""The sampler that reads the energy map: energies that stand for all, then where it expects most.

Two recipes with the same energy are the same start, however they came to it. So the model sees
tau, head, smoothing and depth through what probing made of them, beside the parameters themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial

from energytune.errors import ConfigError
from energytune.optimizer.begun import BegunTrials, best_and_latest, told_and_running
from energytune.optimizer.candidate_pool import Pool, make_pool, representatives
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT
from energytune.optimizer.encoding import Encoding, only_value
from energytune.optimizer.energy_features import EnergyLookup, Known
from energytune.optimizer.hedge import Hedge
from energytune.optimizer.outcomes import Outcome, outcomes
from energytune.optimizer.picks import Ahead, Pick, most_promising, n_at_once
from energytune.optimizer.warm_start import WARM_START, WarmStart

__all__ = ["EXPECTED_IMPROVEMENT", "EnergySampler"]


class EnergySampler(BaseSampler):
    """Samples by expected improvement on recipe and energy; for single-objective studies.

    The first picks stand for all that there are, in recipe and energy. Then a Gaussian process
    (:mod:`energytune.optimizer.surrogate`) picks, and plain TPE now and then if a hedge is wanted.
    Trials that were pruned count with what they would have come to
    (:mod:`energytune.optimizer.outcomes`), failed ones as the worst of all; of very many, the best
    and the latest. The study is all it knows, what was read of trials is kept to be quick; with
    16 or more trials running at once it makes several picks from one look at it
    (:mod:`energytune.optimizer.picks`). Each pick of the model stores what it expects,
    :data:`~energytune.optimizer.convergence.EXPECTED_IMPROVEMENT`.

    Args:
        energy: What is known of parameters before they are run: an
            :class:`~energytune.EnergyMap`'s ``lookup``, or a function of yours. None models the
            parameters alone.
        space: Parameter name -> distribution, if known beforehand. None learns it from the first
            finished trial, which is random.
        seed: Seed of ties, candidates and the hedge; None differs each time.
        n_initial: Picks that stand for the others, before the first model, >= 1.
        hedge_every: One of so many trials is TPE's, >= 0; 0 is never. What 3 does on the design
            tasks is in ``benchmarks/results/search_efficiency-design-ablation.csv``.
        n_candidates: Random parameters that are looked at, beside neighbours of the best, where
            the space can't be looked at whole.
        warm_start: Earlier searches that give the first of the initial picks, where one is near;
            its features must be those of ``energy``. None asks no other search.
    """

    def __init__(
        self,
        energy: EnergyLookup | None = None,
        *,
        space: Mapping[str, BaseDistribution] | None = None,
        seed: int | None = None,
        n_initial: int = 6,
        hedge_every: int = 0,
        n_candidates: int = 1024,
        warm_start: WarmStart | None = None,
    ) -> None:
        if n_initial < 1:
            raise ConfigError(
                f"n_initial must be at least 1. Got {n_initial}. A model needs a trial to begin."
            )
        if hedge_every < 0:
            raise ConfigError(
                f"hedge_every must be at least 0. Got {hedge_every}. Give 0 for no hedge at all."
            )
        if n_candidates < 1:
            raise ConfigError(
                f"n_candidates must be at least 1. Got {n_candidates}. More are better, and slower."
            )
        self._energy = energy or _unknown
        self._space = None if space is None else dict(space)
        self._intersection = IntersectionSearchSpace(include_pruned=True)
        self._begun = BegunTrials()
        self._ahead = Ahead()
        self._n_initial = n_initial
        self._hedge_every = hedge_every
        self._n_candidates = n_candidates
        self._warm_start = warm_start
        self._seed(seed)

    def _seed(self, seed: int | None) -> None:
        self._rng = np.random.default_rng(seed)
        inner = int(self._rng.integers(2**31))
        self._independent = RandomSampler(seed=inner)
        self._hedge = Hedge(inner)

    def reseeded(self, seed: int) -> EnergySampler:
        """Returns a sampler of another seed; both share what was read of trials."""
        other = copy(self)
        other._seed(seed)
        return other

    def reseed_rng(self) -> None:
        """Makes this copy differ from others, for several threads."""
        self._rng = np.random.default_rng()
        self._independent.reseed_rng()
        self._hedge.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns what is sampled jointly: the given space, or what all finished trials share."""
        self._raise_error_if_multi_objective(study)
        return {name: dist for name, dist in self._whole(study).items() if not dist.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Samples ``search_space`` jointly.

        Raises:
            ValueError: If the study has several objectives.
            ConfigError: If the energy features of two recipes differ in number.
        """
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        energy = self._energy_in(search_space, study)
        names = frozenset(search_space)
        is_hedged = self._hedge_every > 0 and trial.number % self._hedge_every == 0
        if not is_hedged and (pick := self._ahead.take(study, names)) is not None:
            return self._noted(study, trial, pick)
        begun = self._begun.read(study, search_space, energy)
        known = len(begun.trials) >= self._n_initial
        if known and is_hedged:
            return self._hedge.pick(study, trial, search_space, begun.trials)
        n_picks = n_at_once(begun.trials)
        few = best_and_latest if n_picks == 1 else told_and_running
        seen = outcomes(few(begun.trials, study.direction), study.direction)
        pool = make_pool(
            Encoding(search_space),
            energy,
            seen=[(o.trial, o.value) for o in seen],
            taken=begun.keys,
            n_random=self._n_candidates,
            rng=self._rng,
        )
        if not pool.params:
            return self._hedge.pick(study, trial, search_space, begun.trials)
        picks = self._picks(study, trial, pool, seen if known else [], n_picks)
        self._ahead.put(study, names, picks[1:])
        return self._noted(study, trial, picks[0])

    def _picks(
        self, study: Study, trial: FrozenTrial, pool: Pool, seen: Sequence[Outcome], n: int
    ) -> list[Pick]:
        """Returns the model's choice, or candidates that stand for all while it knows nothing."""
        if any(o.value is not None for o in seen):
            return [(pool.params[i], expected) for i, expected in most_promising(pool, seen, n)]
        warm = self._warm_pick(study, trial, pool)
        if warm is not None:
            return [(pool.params[warm], None)]
        n = 1 if self._warm_start else n  # it may know better of the next one
        return [(pool.params[place], None) for place in representatives(pool, self._rng, n)]

    def _noted(self, study: Study, trial: FrozenTrial, pick: Pick) -> dict[str, Any]:
        """Returns the parameters of a pick and stores with the trial what is expected of it."""
        params, expected = pick
        if expected is not None:
            # As Optuna's own samplers store theirs: a sampler is given no public way.
            study._storage.set_trial_system_attr(trial._trial_id, EXPECTED_IMPROVEMENT, expected)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Samples one dimension by itself, at random: one that not all trials have."""
        self._raise_error_if_multi_objective(study)
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _warm_pick(self, study: Study, trial: FrozenTrial, pool: Pool) -> int | None:
        """Returns the candidate that earlier searches give, if any, and marks the trial."""
        if self._warm_start is None or not pool.n_energy:
            return None
        energy = slice(-pool.n_energy, None)
        n_made = sum(WARM_START in t.system_attrs for t in study.get_trials(deepcopy=False))
        picked = self._warm_start.pick(pool.points[:, energy], pool.seen[:, energy], n_made)
        if picked is not None:
            names = [search.name for search, _ in self._warm_start.near]
            study._storage.set_trial_system_attr(trial._trial_id, WARM_START, names)
        return picked

    def _whole(self, study: Study) -> dict[str, BaseDistribution]:
        return self._intersection.calculate(study) if self._space is None else self._space

    def _energy_in(
        self, search_space: Mapping[str, BaseDistribution], study: Study
    ) -> EnergyLookup:
        """Returns the lookup for parameters of ``search_space`` alone."""
        left = {name: d for name, d in self._whole(study).items() if name not in search_space}
        if not left:
            return self._energy
        if not all(dist.single() for dist in left.values()):
            return _unknown  # fixed from outside (PartialFixedSampler): nobody says at what
        constants = {name: only_value(dist) for name, dist in left.items()}
        return _WithConstants(self._energy, constants)


def _unknown(params: Mapping[str, Any]) -> Known:
    return Known(tuple(sorted(params.items())))


@dataclass(frozen=True)
class _WithConstants:
    """A lookup that is told of parameters with a single value too."""

    energy: EnergyLookup
    constants: Mapping[str, Any]

    def __call__(self, params: Mapping[str, Any]) -> Known:
        return self.energy({**self.constants, **params})
