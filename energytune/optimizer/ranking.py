"""Which finetune is the best, where validation images are few: ties of accuracy go by the loss.

On 400 images an accuracy of 0.9 has a standard error of 1.5 points, and the more recipes are
compared, the more the highest one owes to luck. The validation loss is measured on the same images
at the same epoch, and is finer. So accuracies that are less than half a standard error apart are
taken for equal. ``benchmarks/results/choose_best.csv`` tells what that gains: nothing among few
finetunes, a tenth of a point among 80.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush

__all__ = ["TIED_SE", "ranked", "tied_margin"]

TIED_SE = 0.5
"""Standard errors of an accuracy within which another one counts as equal."""


def tied_margin(accuracy: float, n_valid: int | None, n_se: float = TIED_SE) -> float:
    """Returns by how much a validation accuracy may be lower and still count as equal, >= 0.

    Args:
        accuracy: The higher one, in [0, 1].
        n_valid: Validation images; None lets only the same accuracy count as equal.
        n_se: In standard errors ``sqrt(a (1 - a) / n)`` of a binomial share.
    """
    if n_valid is None:
        return 0.0
    return n_se * math.sqrt(max(0.0, accuracy * (1.0 - accuracy)) / n_valid)


def ranked(
    ends: Sequence[tuple[float, float]], n_valid: int | None = None, n_se: float = TIED_SE
) -> list[int]:
    """Returns the places of finetunes, the best first.

    The next one is always, of those whose accuracy is within :func:`tied_margin` of the highest
    that is left, that of the lowest loss; then the higher accuracy, then the earlier place.

    Args:
        ends: (validation accuracy, validation loss) of each at its best epoch; finite.
        n_valid: Validation images; None breaks only exact ties.
        n_se: See :func:`tied_margin`.
    """
    by_accuracy = sorted(range(len(ends)), key=lambda i: (-ends[i][0], i))
    tied: list[tuple[float, float, int]] = []
    taken: set[int] = set()
    order: list[int] = []
    n_tied = 0
    for highest in by_accuracy:
        while highest not in taken:
            top = ends[highest][0]
            least = top - tied_margin(top, n_valid, n_se) - 1e-9
            while n_tied < len(ends) and ends[by_accuracy[n_tied]][0] >= least:
                place = by_accuracy[n_tied]
                accuracy, loss = ends[place]
                heappush(tied, (loss, -accuracy, place))
                n_tied += 1
            place = heappop(tied)[2]
            taken.add(place)
            order.append(place)
    return order
