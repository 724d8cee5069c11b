"""What a replayed search achieved, and how sure that is: pure functions of arrays.

Costs are finetuning epochs, or seconds in units of one whole finetune of the task, so that they
can be averaged over tasks. Accuracies are shares; tables give points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.table import Table

__all__ = [
    "Course",
    "accuracies",
    "cheapest",
    "cost_to_reach",
    "interval",
    "resampled_means",
    "shortfall",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """When the returned recipe of a search changed, in one unit of cost.

    Attributes:
        costs: Ascending, (changes,).
        places: Recipe from then on, its place in the table, (changes,); -1 for none.
    """

    costs: Sequence[float]
    places: Sequence[int]


def accuracies(table: Table, course: Course, budgets: Sequence[float]) -> Floats:
    """Returns the mean-over-seeds test accuracy of the recipe that is returned, (budgets,).

    Where none is returned, the mean over all recipes: what a pick without a search gives.
    """
    scores = table.mean_test_acc
    after = np.searchsorted(course.costs, budgets, side="right")
    places = np.array([-1, *course.places])[after]
    result: Floats = np.where(places >= 0, scores[places], scores.mean())
    return result


def cost_to_reach(table: Table, course: Course, cap: float) -> float:
    """Returns the cost from which on the returned recipe is, until ``cap``, as good as the best.

    That is: its test accuracy is within one seed deviation of the best recipe's, both means over
    the seeds. Infinity if at ``cap`` it is not.
    """
    good = table.mean_test_acc >= table.mean_test_acc.max() - table.seed_deviation
    since = float("inf")
    for cost, place in zip(course.costs, course.places, strict=True):
        if cost > cap:
            break
        if place < 0 or not good[place]:
            since = float("inf")
        elif since == float("inf"):
            since = cost
    return since


def resampled_means(values: Floats, n_resamples: int = 2000, seed: int = 0) -> Floats:
    """Returns bootstrap means: tasks are drawn anew, then the repeats within each drawn task.

    Args:
        values: (tasks, repeats, ...); give the differences of two methods to compare them in pairs.
        n_resamples: Means to return.
        seed: Equal seeds draw equally, whatever the values.

    Returns:
        (n_resamples, ...).
    """
    n_tasks, n_repeats = values.shape[:2]
    weights = _weights(n_tasks, n_repeats, n_resamples, seed)
    means: Floats = weights @ values.reshape(n_tasks * n_repeats, -1)
    return means.reshape(n_resamples, *values.shape[2:])


@cache
def _weights(n_tasks: int, n_repeats: int, n_resamples: int, seed: int) -> Floats:
    """Returns how much each search counts in each resample, (n_resamples, tasks * repeats)."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((n_resamples, n_tasks, n_repeats))
    for weight in weights:
        tasks = rng.integers(n_tasks, size=n_tasks)
        repeats = rng.integers(n_repeats, size=(n_tasks, n_repeats))
        np.add.at(weight, (tasks[:, None], repeats), 1.0)
    return weights.reshape(n_resamples, -1) / (n_tasks * n_repeats)


def interval(resampled: Floats) -> tuple[Any, Any]:
    """Returns the ends of the 95 % percentile interval over the first axis."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return low, high


def cheapest(ours: Floats, theirs: float | Floats, budgets: Floats, tolerance: float) -> Floats:
    """Returns the smallest budget at which an accuracy is within ``tolerance`` of another.

    Args:
        ours: Mean accuracy at each budget, (..., budgets).
        theirs: What is to be reached, (...).
        budgets: Ascending, (budgets,).
        tolerance: In accuracy.

    Returns:
        (...), infinity where no budget is enough.
    """
    enough = ours >= np.asarray(theirs)[..., None] - tolerance - 1e-12
    found: Floats = np.where(enough.any(axis=-1), budgets[enough.argmax(axis=-1)], np.inf)
    return found


def shortfall(ours: Floats, theirs: Floats) -> Floats:
    """Returns the most by which an accuracy is below another at one budget, (...), may be < 0.

    Args:
        ours: Mean accuracy at each budget, (..., budgets).
        theirs: The same of the other method.
    """
    most: Floats = (theirs - ours).max(axis=-1)
    return most
