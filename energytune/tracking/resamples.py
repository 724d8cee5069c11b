"""Scores of resamples of the test examples, for two models at once: the paired bootstrap.

Both models are scored on the same resamples [Efron1993]_: examples are drawn with replacement, as
many as there are, and each model's score is made again from its evidence. A resample is scored as
the metric itself scores a split. So a label that has one class only in a resample (or in all of
the split) takes no part in the mean ROC-AUC of that resample, and without any label of both
classes it is 0.5; a class that occurs in a resample neither in targets nor in predictions takes
no part in the mIoU.

Everybody who compares the same two models gets the same numbers: the draws follow from the
evidence itself, by NumPy's ``RandomState``, whose streams are frozen (NEP 19), and differences
are rounded to 12 decimals, so that the last bits of another processor's sums decide nothing.

.. [Efron1993] B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. Chapman & Hall, 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from energytune.tasks.evidence import Evidence, miou_of_counts

__all__ = ["differences", "resampled_scores"]

Floats = NDArray[np.float64]
Weights = NDArray[np.float64]
"""(R, N): how often each example is in each resample; whole numbers, rows summing to N."""

_BLOCK_VALUES = 4_000_000
"""Weights in memory at once, about: 32 MB, and a few times that while they are used."""


def differences(new: Evidence, old: Evidence, seed: int, block: int) -> Iterator[Floats]:
    """Yields the differences in score, new minus old, of ever more resamples.

    Args:
        new: Evidence of one model.
        old: Of the other, on the same examples.
        seed: In [0, 2**32); the same gives the same resamples.
        block: Resamples to yield at a time.
    """
    draw = np.random.RandomState(seed)
    score_new, score_old = _scorer(new), _scorer(old)
    n = new.n_examples
    n_rows = max(1, min(block, _BLOCK_VALUES // max(n, 1)))
    while True:
        parts: list[Floats] = []
        for start in range(0, block, n_rows):
            weights = _draw(draw, min(n_rows, block - start), n)
            parts.append(score_new(weights) - score_old(weights))
        yield np.concatenate(parts).round(12)


def resampled_scores(evidence: Evidence, weights: Weights) -> Floats:
    """Returns the score of each resample, (R,).

    Args:
        evidence: Of one model on N examples.
        weights: (R, N).
    """
    return _scorer(evidence)(weights)


def _draw(draw: np.random.RandomState, n_rows: int, n: int) -> Weights:
    drawn = draw.randint(n, size=(n_rows, n))
    drawn += n * np.arange(n_rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_rows * n).reshape(n_rows, n).astype(np.float64)


def _scorer(evidence: Evidence) -> Callable[[Weights], Floats]:
    if evidence.metric == "miou":
        counts = np.asarray(evidence.arrays["counts"], dtype=np.float64)
        flat = counts.reshape(len(counts), -1)
        # sums of whole numbers, exact in float64
        return lambda weights: miou_of_counts((weights @ flat).reshape(-1, *counts.shape[1:]))
    if evidence.metric == "accuracy":
        right = np.asarray(evidence.arrays["correct"], dtype=np.float64)
        return lambda weights: np.asarray(weights @ right / max(len(right), 1))
    labels = [
        _Label(scores, targets)
        for scores, targets in zip(
            np.asarray(evidence.arrays["scores"], dtype=np.float64).T,
            np.asarray(evidence.arrays["targets"], dtype=np.float64).T,
            strict=True,
        )
    ]
    return lambda weights: _mean_area(labels, weights)


def _mean_area(labels: list[_Label], weights: Weights) -> Floats:
    total, n_known = np.zeros(len(weights)), np.zeros(len(weights))
    for label in labels:
        area, known = label.areas(weights)
        total += area
        n_known += known
    return np.asarray(np.where(n_known > 0, total / np.maximum(n_known, 1), 0.5))


class _Label:
    """One label's examples in the order of their scores, for the area of any resample."""

    def __init__(self, scores: Floats, targets: Floats) -> None:
        known = np.flatnonzero(targets >= 0)
        self._order = known[np.argsort(scores[known], kind="stable")]
        in_order = scores[self._order]
        self._positive = (targets[self._order] > 0).astype(np.float64)
        self._starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])

    def areas(self, weights: Weights) -> tuple[Floats, NDArray[np.bool_]]:
        """Returns the area of each resample, 0 where a class is missing, and where none is."""
        if not len(self._order):
            return np.zeros(len(weights)), np.zeros(len(weights), dtype=bool)
        here = weights[:, self._order]
        positive = np.add.reduceat(here * self._positive, self._starts, axis=1)
        negative = np.add.reduceat(here * (1.0 - self._positive), self._starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        # pairs in the right order, and ties by half: whole and half numbers, so exact
        won = np.einsum("rg,rg->r", positive, below + 0.5 * negative)
        n_pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return won / np.maximum(n_pairs, 1.0), n_pairs > 0
