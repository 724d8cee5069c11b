"""Tests of two models on the same test examples: McNemar's for accuracy, else the bootstrap.

McNemar's test looks at the examples that exactly one of the two gets right [Dietterich1998]_; its
exact form is a fair coin's. A mean ROC-AUC and an mIoU are no sums over examples: there the
distribution of the difference comes from resamples (:mod:`energytune.tracking.resamples`).

.. [Agresti2005] A. Agresti, Y. Min. Simple improved confidence intervals for comparing matched
   proportions. Statistics in Medicine 24(5), 2005.
.. [Besag1991] J. Besag, P. Clifford. Sequential Monte Carlo p-values. Biometrika 78(2), 1991.
.. [Connor1987] R. J. Connor. Sample size for testing differences in proportions for the
   paired-sample design. Biometrics 43(1), 1987.
.. [Dietterich1998] T. G. Dietterich. Approximate statistical tests for comparing supervised
   classification learning algorithms. Neural Computation 10(7), 1998.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from energytune.tasks.evidence import Evidence
from energytune.tracking.resamples import differences

__all__ = ["CONFIDENCE", "POWER", "Paired", "bootstrap", "mcnemar", "not_paired", "paired_test"]

CONFIDENCE = 0.95
"""Of the interval of the difference."""
POWER = 0.8
"""Chance to see the difference that was observed, if it is the true one, with N more examples."""
N_RESAMPLES = 2_000
"""The fewest; more follow while the smaller tail holds too few of them to tell the p-value."""
_ENOUGH_IN_TAIL = 25
_MAX_RESAMPLES = 1_000_000
_MAX_VALUES = 1_000_000_000
"""Resampled values a comparison may cost, about a minute; large test sets with tiny levels."""


@dataclass(frozen=True)
class Paired:
    """A paired test of two models.

    Attributes:
        method: ``"McNemar exact"``, ``"paired bootstrap"``, or the latter with ``", normal tail"``.
        n_test: Number of paired test examples.
        difference: Score of the new model minus that of the old one.
        p_value: Two-sided.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        n_gained: Examples that only the new model gets right; None but for accuracy.
        n_lost: Examples that only the old model gets right; None but for accuracy.
        n_resamples: Resamples that were drawn; None for McNemar's test.
        standard_error: Of the difference.
        n_needed: Test examples in all with which a difference as observed would be seen with a
            chance of 80 %; None where the new model is not ahead.
    """

    method: str
    n_test: int
    difference: float
    p_value: float
    low: float
    high: float
    standard_error: float
    n_needed: int | None
    n_gained: int | None = None
    n_lost: int | None = None
    n_resamples: int | None = None


def not_paired(new: Evidence, old: Evidence) -> str:
    """Returns why two models can't be paired, as half a sentence; empty if they can."""
    if new.metric != old.metric:
        return f"{new.metric} against {old.metric}"
    if not new.n_examples or not old.n_examples:
        return "there is no test example"
    if new.n_examples != old.n_examples:
        return f"{new.n_examples} test examples against {old.n_examples}"
    for name in ("scores", "counts"):
        if name in new.arrays and new.arrays[name].shape != old.arrays[name].shape:
            return f"{name} of shape {new.arrays[name].shape} against {old.arrays[name].shape}"
    targets, others = new.arrays.get("targets"), old.arrays.get("targets")
    counts, other_counts = new.arrays.get("counts"), old.arrays.get("counts")
    if targets is not None and not np.array_equal(targets, others):  # type: ignore[arg-type]
        return "their labels differ"
    if counts is not None and not np.array_equal(counts[:, 2], other_counts[:, 2]):  # type: ignore[index]
        return "their labelled pixels differ"
    return ""


def paired_test(new: Evidence, old: Evidence, level: float) -> Paired:
    """Tests two models on the same examples.

    Args:
        new: Evidence of one.
        old: Of the other; :func:`not_paired` is empty.
        level: At which the p-value will be judged, in (0, 1): small levels take more resamples.
    """
    if new.metric == "accuracy":
        right, before = np.asarray(new.arrays["correct"]), np.asarray(old.arrays["correct"])
        return mcnemar(right.astype(bool), before.astype(bool), level)
    return bootstrap(new, old, level)


def mcnemar(new: NDArray[np.bool_], old: NDArray[np.bool_], level: float = 0.05) -> Paired:
    """Returns the exact two-sided McNemar test of paired outcomes.

    The p-value is that of a fair coin over the examples on which the two differ, 1 if there are
    none. The interval is Agresti and Min's, Wald's with 1/2 added to each of the four counts
    [Agresti2005]_. The number of examples is Connor's, from the observed shares [Connor1987]_.

    Args:
        new: (N,) whether the new model was right.
        old: (N,) whether the old one was.
        level: Level for ``n_needed``.
    """
    n = len(new)
    n_gained, n_lost = int((new & ~old).sum()), int((old & ~new).sum())
    n_coins = n_gained + n_lost
    # in whole numbers, exactly; importing scipy.stats for this would cost a second of CPU
    tail = sum(math.comb(n_coins, heads) for heads in range(min(n_gained, n_lost) + 1))
    p_value = 1.0 if 2 * tail >= 2**n_coins else 2 * tail / 2**n_coins
    difference, differing = (n_gained - n_lost) / n, n_coins / n
    middle, spread = (n_gained - n_lost) / (n + 2), (n_coins + 1) / (n + 2)
    half = _z((1 + CONFIDENCE) / 2) * math.sqrt((spread - middle**2) / (n + 2))
    n_needed = None
    if difference > 0:
        root = math.sqrt(max(differing - difference**2, 0.0))
        needed = _z(1 - level / 2) * math.sqrt(differing) + _z(POWER) * root
        n_needed = math.ceil((needed / difference) ** 2)
    return Paired(
        method="McNemar exact",
        n_test=n,
        difference=difference,
        p_value=p_value,
        low=max(-1.0, middle - half),
        high=min(1.0, middle + half),
        standard_error=math.sqrt(max(differing - difference**2, 0.0) / n),
        n_needed=n_needed,
        n_gained=n_gained,
        n_lost=n_lost,
    )


def bootstrap(new: Evidence, old: Evidence, level: float = 0.05) -> Paired:
    """Returns the paired bootstrap test of two scores.

    The p-value is two-sided: twice the smaller share of the resampled differences that lie at 0 or
    beyond, each share with 1 added to its two counts, at most 1. Resamples are drawn until the
    smaller side holds 25 or so many were drawn that the p-value can fall below the level
    [Besag1991]_; they follow from the two models' evidence, whichever is the new one. Where a
    large test set and a tiny level would take too many, the p-value is the normal distribution's
    with the standard error of those that were drawn, and the method says so. The interval is the
    percentile one. The number of examples takes the standard error to fall with the root of their
    number.

    Args:
        new: Evidence of one model.
        old: Of the other.
        level: Level of the test, which limits the resamples; and for ``n_needed``.
    """
    difference = round(new.score() - old.score(), 12)
    # Who is behind can't win, so its p-value needs no further digits.
    wanted = max(math.ceil(10 / level), N_RESAMPLES) if difference > 0 else N_RESAMPLES
    most = min(wanted, max(N_RESAMPLES, min(_MAX_RESAMPLES, _MAX_VALUES // _n_values(new))))
    seed = int("".join(sorted((new.digest()[:4], old.digest()[:4]))), 16)
    drawn: list[NDArray[np.float64]] = []
    n_below = n_above = n_drawn = 0
    for block in differences(new, old, seed, N_RESAMPLES):
        drawn.append(block)
        n_drawn += len(block)
        n_below += int((block <= 0).sum())
        n_above += int((block >= 0).sum())
        if min(n_below, n_above) >= _ENOUGH_IN_TAIL or n_drawn >= most:
            break
    every = np.concatenate(drawn)
    error = float(every.std(ddof=1))
    method = "paired bootstrap"
    p_value = min(1.0, 2 * (1 + min(n_below, n_above)) / (1 + n_drawn))
    if n_drawn < wanted and min(n_below, n_above) < _ENOUGH_IN_TAIL and error > 0:
        method += ", normal tail"
        p_value = math.erfc(abs(difference) / error / math.sqrt(2))
    share = (1 - CONFIDENCE) / 2
    low, high = (float(x) for x in np.quantile(every, [share, 1 - share]))
    n_needed = None
    if difference > 0:
        ratio = (_z(1 - level / 2) + _z(POWER)) * error / difference
        n_needed = math.ceil(new.n_examples * ratio**2)
    return Paired(
        method=method,
        n_test=new.n_examples,
        difference=difference,
        p_value=p_value,
        low=low,
        high=high,
        standard_error=error,
        n_needed=n_needed,
        n_resamples=n_drawn,
    )


def _n_values(evidence: Evidence) -> int:
    """Returns what one resample costs, in values of ROC-AUC; sums of counts are far cheaper."""
    counts = evidence.arrays.get("counts")
    return evidence.arrays["scores"].size if counts is None else 1 + counts.size // 16


def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
