"""A learned gate: finetunes that will hardly beat the best so far are not run.

It is off by default. What a model believes after twenty trials is no measurement, and a finetune
that is not run is never heard of again; so give it to a search only where its false prunes have
been counted.
"""

from __future__ import annotations

import math

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from energytune.errors import ConfigError
from energytune.optimizer.begun import BegunTrials, best_and_latest
from energytune.optimizer.candidate_pool import feature_points
from energytune.optimizer.encoding import Encoding
from energytune.optimizer.energy_features import EnergyLookup
from energytune.optimizer.outcomes import outcomes
from energytune.optimizer.probed import Probed
from energytune.optimizer.surrogate import fit_surrogate

__all__ = ["LearnedGate"]


class LearnedGate:
    """A :class:`~energytune.optimizer.pruner.Gate` that asks the sampler's model.

    The probability that a whole finetune, the seed's noise included, comes out above the best
    mean of the model at any finetune so far. Nothing is said where energy is not known, nor of
    parameters that other trials don't share. A decision takes a tenth of a second.

    Args:
        energy: What is known of parameters before they are run, as for
            :class:`~energytune.optimizer.energy_sampler.EnergySampler`.
        threshold: Probability below which a finetune is not run, in (0, 1).
        n_least: Trials with a value below which there is no opinion, >= 2.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(self, energy: EnergyLookup, threshold: float = 0.02, n_least: int = 20) -> None:
        if not 0 < threshold < 1:
            raise ConfigError(
                f"threshold must be in (0, 1). Got {threshold}. It is a probability: 0.02 stops "
                "what has a chance of 1 in 50."
            )
        if n_least < 2:
            raise ConfigError(
                f"n_least must be at least 2. Got {n_least}. A model of fewer trials knows nothing."
            )
        self.threshold, self.n_least = threshold, n_least
        self._energy = energy
        self._begun = BegunTrials()

    def reason(self, study: Study, trial: FrozenTrial, probed: Probed) -> str | None:
        """Returns why not to finetune ``trial``, with the numbers, or None to go on."""
        space = {name: dist for name, dist in trial.distributions.items() if not dist.single()}
        if not space or self._energy(trial.params).features is None:
            return None
        begun = self._begun.read(study, space, self._energy).trials
        others = [other for other in begun if other.number != trial.number]
        seen = outcomes(best_and_latest(others, study.direction), study.direction)
        told = [(o, o.value) for o in seen if o.value is not None]
        if len(told) < self.n_least:
            return None
        params = [trial.params, *(o.trial.params for o, _ in told)]
        points, _ = feature_points(Encoding(space), params, [self._energy(one) for one in params])
        model = fit_surrogate(
            points[1:], np.array([value for _, value in told]), np.array([o.doubt for o, _ in told])
        )
        mean, deviation = (float(one[0]) for one in model.predict(points[:1]))
        spread = math.hypot(deviation, model.seed_deviation)
        chance = float(ndtr((mean - model.best) / spread))
        if chance >= self.threshold:
            return None
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        return (
            f"gate: chance {chance:.4f} to beat the best {sign * model.best:.4f}, below "
            f"{self.threshold:g}; expected {sign * mean:.4f} +- {spread:.4f} by {len(told)} trials"
        )
