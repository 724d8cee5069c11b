"""The racing rule of the confirmation: which recipes are beaten for good. Pure, knows no jobs.

Recipes run on the same seeds are compared seed by seed, as in F-Race [Birattari2002]_: where the
leader is ahead of one by more than noise explains, further seeds would be spent in vain.

Caveats. ``alpha`` holds for one look: a race that looks after each of R rounds drops the truly
best recipe with a chance of at most ``R alpha``. With a handful of seeds only large differences
are told; that two recipes are both left does not say that they are equal.

References:
    .. [Birattari2002] M. Birattari, T. Stuetzle, L. Paquete, K. Varrentrapp. A racing algorithm
        for configuring metaheuristics. GECCO (2002).
    .. [Wilcoxon1945] F. Wilcoxon. Individual comparisons by ranking methods. Biometrics 1 (1945).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from energytune.errors import ConfigError
from energytune.science.noise import SeedNoise, in_deviations

__all__ = ["ALPHA", "Beaten", "beaten"]

ALPHA = 0.05
"""Highest chance that one look drops the recipe that is truly the best."""
_MIN_WILCOXON = 6
_DIGITS = 12
"""Differences of accuracies are rounded: 0.91 - 0.90 and 0.61 - 0.60 are one rank."""


@dataclass(frozen=True)
class Beaten:
    """Why a recipe is out.

    Attributes:
        leader: Key of the recipe that is ahead.
        difference: Mean of leader minus recipe over the shared seeds, > 0, in accuracy.
        n_seeds: Shared seeds.
        p_value: One-sided, for a difference of at least this size by chance.
        test: ``"wilcoxon"``, or ``"t"`` with the measured seed deviation.
        deviations: ``difference`` in seed deviations; None if none was measured.
    """

    leader: str
    difference: float
    n_seeds: int
    p_value: float
    test: Literal["wilcoxon", "t"]
    deviations: float | None = None

    def reason(self, leader: str) -> str:
        """Returns the decision in words.

        Args:
            leader: What to call the leader, such as ``"t007"``.
        """
        size = f"{100 * self.difference:.1f} points"
        if self.deviations is not None:
            size += f" ({self.deviations:.1f} seed deviations)"
        seeds = f"{self.n_seeds} seed{'s' if self.n_seeds > 1 else ''}"
        return f"beaten: {size} behind {leader} after {seeds}, p = {self.p_value:.2g}"


def beaten(
    values: Mapping[str, Mapping[int, float]],
    *,
    noise: SeedNoise | None = None,
    alpha: float = ALPHA,
    protected: Collection[str] = (),
) -> dict[str, Beaten]:
    """Returns which recipes get no more seeds.

    The leader has the highest mean over the seeds that all recipes share; of equals, the one
    named first. Each other recipe is tested against it, one-sided, at ``alpha / (M - 1)`` with
    M recipes: the truly best one is dropped if one of M - 1 others looks better by chance
    (Bonferroni). The test is Wilcoxon's exact signed rank test [Wilcoxon1945]_ once there are at
    least 6 shared seeds and as many as it needs to be able to decide (``2^-n`` at most the
    level). Before, it is a t test of the mean difference, whose deviation is taken as
    ``deviation sqrt(2 / n)`` with the noise's degrees of freedom: a normal quantile would take
    an estimate from a few repeats for the truth. Recipes that share their seed's luck differ by
    less, so that this errs towards keeping them. Without a measured deviation above 0, nobody
    is dropped before Wilcoxon's test can decide.

    Args:
        values: Objective in [0, 1], higher is better, by recipe and seed; the earlier rank first.
        noise: Seed noise of the objective; None if it was not measured.
        alpha: In (0, 1).
        protected: Recipes that are never dropped.

    Returns:
        What is beaten, with the numbers; never the leader, and nothing if there is one recipe
        left or no shared seed.

    Raises:
        ConfigError: ``alpha`` lies outside its range or a value is not finite.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha must lie in (0, 1), got {alpha}.")
    if not all(math.isfinite(x) for runs in values.values() for x in runs.values()):
        raise ConfigError(f"values must be finite, got {dict(values)}.")
    seeds = sorted(set.intersection(*map(set, values.values()))) if values else []
    if len(values) < 2 or not seeds:
        return {}
    means = {key: math.fsum(runs[seed] for seed in seeds) for key, runs in values.items()}
    leader = max(means, key=means.__getitem__)  # the first of equals
    level = alpha / (len(values) - 1)
    found: dict[str, Beaten] = {}
    for key, runs in values.items():
        if key == leader or key in protected:
            continue
        differences = [round(values[leader][seed] - runs[seed], _DIGITS) for seed in seeds]
        verdict = _tested(differences, noise, level)
        if verdict is not None and verdict[1] <= level:
            test, p_value = verdict
            mean = math.fsum(differences) / len(seeds)
            found[key] = Beaten(leader, mean, len(seeds), p_value, test, in_deviations(mean, noise))
    return found


def _tested(
    differences: Sequence[float], noise: SeedNoise | None, level: float
) -> tuple[Literal["wilcoxon", "t"], float] | None:
    """Returns the test that applies and its one-sided p-value; None if none does."""
    n = len(differences)
    mean = math.fsum(differences) / n
    if n >= _MIN_WILCOXON and 0.5**n <= level:
        return "wilcoxon", _wilcoxon(differences) if mean > 0.0 else 1.0
    if noise is None or noise.deviation == 0.0:
        return None
    ratio = mean / (noise.deviation * math.sqrt(2.0 / n))
    return "t", float(special.stdtr(noise.degrees_of_freedom, -ratio))


def _wilcoxon(differences: Sequence[float]) -> float:
    """Returns the one-sided p-value; exact, but for ties among more than 13 differences."""
    from scipy import stats  # takes a second to import, and most races end without it

    return float(stats.wilcoxon(differences, alternative="greater").pvalue)
