"""Seed noise: how much a recipe's result moves when nothing but its seed changes.

The measurement alone; what it decides is in the rooms above. Sums of squares of several recipes
are pooled as in an analysis of variance [Fisher1925]_, so that each recipe keeps its own mean.

References:
    .. [Fisher1925] R. A. Fisher. Statistical methods for research workers. Oliver & Boyd (1925).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from scipy import special

from energytune.errors import ConfigError

__all__ = ["SeedNoise", "in_deviations", "seed_noise"]


@dataclass(frozen=True)
class SeedNoise:
    """Spread of one number over repeated runs that differ in their seed alone.

    Attributes:
        deviation: Pooled standard deviation, >= 0, in the unit of the number.
        n_recipes: Recipes that were run at least twice.
        n_runs: Runs of these recipes.
        degrees_of_freedom: ``n_runs - n_recipes``, >= 1.
    """

    deviation: float
    n_recipes: int
    n_runs: int
    degrees_of_freedom: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the chi-square interval (low, high) of :attr:`deviation`.

        It takes the results of one recipe for normally distributed. With two degrees of freedom
        it reaches from half to six times the estimate: a few repeats tell an order of size.

        Args:
            confidence: In (0, 1).

        Raises:
            ConfigError: ``confidence`` lies outside its range.
        """
        if not 0.0 < confidence < 1.0:
            raise ConfigError(f"confidence must lie in (0, 1), got {confidence}.")
        tail = (1.0 - confidence) / 2.0
        df = self.degrees_of_freedom
        # chdtri(df, p) is the value that a chi-square variable exceeds with probability p
        low = self.deviation * math.sqrt(df / float(special.chdtri(df, tail)))
        high = self.deviation * math.sqrt(df / float(special.chdtri(df, 1.0 - tail)))
        return low, high


def seed_noise(groups: Mapping[Hashable, Sequence[float]]) -> SeedNoise | None:
    """Returns the pooled standard deviation of repeated runs; None if no recipe is repeated.

    ``sqrt(sum_g sum_i (x_gi - mean_g)^2 / sum_g (n_g - 1))`` over the groups of at least two
    values. A value that was picked for being high, such as the best of many trials, is no
    repeat: leave it out, or the deviation is too large.

    Args:
        groups: Results of one recipe on different seeds, by recipe.

    Raises:
        ConfigError: A value is not finite.
    """
    for name, values in groups.items():
        if not all(math.isfinite(value) for value in values):
            raise ConfigError(f"the values of {name!r} must be finite, got {list(values)}.")
    repeated = [list(values) for values in groups.values() if len(values) > 1]
    if not repeated:
        return None
    squares = math.fsum(square for values in repeated for square in _squares(values))
    n_runs = sum(map(len, repeated))
    df = n_runs - len(repeated)
    return SeedNoise(math.sqrt(squares / df), len(repeated), n_runs, df)


def in_deviations(difference: float, noise: SeedNoise | None) -> float | None:
    """Returns a difference as a multiple of the seed deviation.

    Args:
        difference: In the unit of the noise; its sign is kept.
        noise: What was measured.

    Returns:
        None if nothing was measured, if the deviation is 0, or if the difference is NaN.
    """
    if noise is None or noise.deviation == 0.0 or math.isnan(difference):
        return None
    return difference / noise.deviation


def _squares(values: Sequence[float]) -> list[float]:
    # From the first value on: equal accuracies then give exactly 0, whatever their mean rounds to.
    shifted = [value - values[0] for value in values]
    mean = math.fsum(shifted) / len(shifted)
    return [(value - mean) ** 2 for value in shifted]
