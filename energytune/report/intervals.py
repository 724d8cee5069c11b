"""Confidence intervals for accuracies and for paired differences.

References:
    .. [Wilson1927] E. B. Wilson. Probable inference, the law of succession, and statistical
        inference. JASA 22 (1927).
    .. [Student1908] Student. The probable error of a mean. Biometrika 6 (1908).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from energytune.errors import ConfigError

__all__ = ["Interval", "PairedDifference", "paired_t_interval", "wilson_interval"]


@dataclass(frozen=True)
class Interval:
    """A closed interval, ``low <= high``, in the unit of what it is about."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences.

    Attributes:
        mean: Mean difference, NaN if ``n = 0``; positive if the first of each pair is higher.
        interval: Confidence interval of the mean; None if ``n < 2``, where there is none.
        n: Number of pairs.
    """

    mean: float
    interval: Interval | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 lies outside of it."""
        return self.interval is not None and not self.interval.low <= 0.0 <= self.interval.high


def wilson_interval(accuracy: float, n: int, confidence: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a proportion [Wilson1927]_.

    It stays within [0, 1] and has width above 0 even when every image is correct.

    Args:
        accuracy: Share of correct images, in [0, 1]; a mean over models is allowed.
        n: Number of different images, >= 1. The same images seen by three models count once:
            their outcomes are not independent.
        confidence: In (0, 1).

    Raises:
        ConfigError: A value lies outside its range.
    """
    if not 0.0 <= accuracy <= 1.0:
        raise ConfigError(f"accuracy must lie in [0, 1], got {accuracy}.")
    if n < 1:
        raise ConfigError(f"n, the number of images, must be at least 1, got {n}.")
    z = float(special.ndtri((1.0 + _checked(confidence)) / 2.0))
    shrink = 1.0 + z * z / n
    centre = (accuracy + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(accuracy * (1.0 - accuracy) / n + z * z / (4 * n * n))
    # Rounding may leave the closed form a last digit outside at accuracy 0 and 1.
    return Interval(
        min(max(0.0, centre - half), accuracy),
        max(min(1.0, centre + half), accuracy),
    )


def paired_t_interval(differences: Sequence[float], confidence: float = 0.95) -> PairedDifference:
    """Returns the mean of paired differences with its t interval [Student1908]_.

    With three pairs the t quantile is 4.30: such an interval is wide, and rightly so. It takes
    the differences for normally distributed, and tells of spread over seeds alone, not over
    other test images.

    Args:
        differences: One per pair, finite.
        confidence: In (0, 1).

    Raises:
        ConfigError: A difference is not finite, or ``confidence`` lies outside its range.
    """
    n = len(differences)
    if not all(math.isfinite(d) for d in differences):
        raise ConfigError(f"differences must be finite, got {list(differences)}.")
    quantile = (1.0 + _checked(confidence)) / 2.0
    if n == 0:
        return PairedDifference(math.nan, None, 0)
    mean = math.fsum(differences) / n
    if n == 1:
        return PairedDifference(mean, None, 1)
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    half = float(special.stdtrit(n - 1, quantile)) * math.sqrt(variance / n)
    return PairedDifference(mean, Interval(mean - half, mean + half), n)


def _checked(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence must lie in (0, 1), got {confidence}.")
    return confidence
