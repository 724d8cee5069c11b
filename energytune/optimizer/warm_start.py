"""First picks of a search from what earlier, near searches have found.

Off by default, since no gain was shown. Tasks differ in where on the energy map the best recipe
lies, and maps that are near can have their best recipes apart: on the benchmark's design tasks
other datasets' searches made no difference, those of the same dataset with another backbone cost
accuracy at first, and even an earlier search of the very same task helped only in the first few
trials. Hence only searches whose map is nearly this one's are asked, they give a few picks, and
the sampler's model then learns from this search alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from energytune.optimizer.past_search import Energies, PastSearch, distance

__all__ = ["WARM_START", "WarmStart"]

Floats = NDArray[np.float64]

WARM_START = "energytune:warm_start"
"""System attribute of a trial that was picked so: names of the searches it was learned from."""

_BANDWIDTH = 0.7
"""Of the kernel, in the unit of the features: a factor of 2 in a rate, a third of all energy."""
_PRIOR_WEIGHT = 0.3
"""Of a middling score, where no finetune of a near search is near: less than one finetune's."""
_MIDDLE = 0.5
_MOST_SHOWN = 3


class WarmStart:
    """Picks recipes near what the nearest earlier searches have found good.

    It keeps no state: how many picks were made is the study's to know.

    Args:
        energies: Energy map of this search.
        past: Earlier searches, in any order.
        threshold: Distance, as of :func:`~energytune.optimizer.past_search.distance`, from which
            on a search has nothing to say, > 0. The same task with another seed is at 0.02 to
            0.04; other datasets are mostly at 0.1 to 0.5.
        n_picks: Picks at most, >= 0.

    Attributes:
        near: The searches that are asked with their distances, the nearest first; equally near
            ones by name.
        n_picks: The same.
    """

    def __init__(
        self,
        energies: Energies,
        past: Sequence[PastSearch],
        *,
        threshold: float = 0.1,
        n_picks: int = 2,
    ) -> None:
        apart = [(search, distance(energies, search.energies)) for search in past]
        near = [(search, far) for search, far in apart if far < threshold]
        self.near = tuple(sorted(near, key=lambda pair: (pair[1], pair[0].name)))
        self.n_picks = n_picks
        self._threshold = threshold
        self._nearest = min((far for _, far in apart), default=None)

    def pick(self, points: Floats, seen: Floats, n_made: int = 0) -> int | None:
        """Returns the place of the candidate to run next.

        Args:
            points: Energy features of the candidates, (C, F).
            seen: Energy features of what was begun in this search, (T, F).
            n_made: Picks that this search has been given already.

        Returns:
            The candidate of the highest score, less half a point where this search has been; the
            first of equals. None if no search is near, enough picks were made, or no candidate is
            expected to be better than the middle of the near searches.
        """
        if not self.near or n_made >= self.n_picks or not len(points):
            return None
        scores = self.scores(points)
        good = scores > _MIDDLE
        if not good.any():
            return None
        if len(seen):
            scores = scores - _MIDDLE * _kernel(points, seen).max(axis=1)
        return int(np.argmax(np.where(good, scores, -np.inf)))

    def scores(self, points: Floats) -> Floats:
        """Returns what the near searches say of points (C, F): (C,), in [0, 1]; higher is better.

        It is the mean score of their finetunes, weighted by a Gaussian kernel in the features and
        by how near their search is, drawn to 0.5 where there are none.
        """
        total = np.full(len(points), _PRIOR_WEIGHT * _MIDDLE)
        weight = np.full(len(points), _PRIOR_WEIGHT)
        for search, far in self.near:
            kernel = _kernel(points, search.features) * (1.0 - far / self._threshold)
            total += kernel @ search.scores
            weight += kernel.sum(axis=1)
        scores: Floats = total / weight
        return scores

    def describe(self) -> str:
        """Returns a line for a person that says which searches are asked, and how near they are."""
        if self.near:
            shown = [f"{s.name} (distance {far:.2f})" for s, far in self.near[:_MOST_SHOWN]]
            more = [f"{len(self.near) - _MOST_SHOWN} more"] if len(self.near) > _MOST_SHOWN else []
            noun = "search" if len(self.near) == 1 else "searches"
            return f"warm start from {len(self.near)} earlier {noun}: {', '.join(shown + more)}"
        if self._nearest is None:
            return "no warm start: there is no earlier search to learn from"
        return (
            f"no warm start: the nearest earlier search is at distance {self._nearest:.2f}, "
            f"{self._threshold:g} is near"
        )


def _kernel(points: Floats, others: Floats) -> Floats:
    """Returns a Gaussian kernel of all pairs, (C, N), in [0, 1]."""
    kernel: Floats = np.exp(-cdist(points, others, "sqeuclidean") / (2.0 * _BANDWIDTH**2))
    return kernel
