from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from benchmarks.tabular.measures import (
    Course,
    accuracies,
    cheapest,
    cost_to_reach,
    interval,
    resampled_means,
    shortfall,
)
from tests.benchmarks.hand_made import ORDER, by_tau, hand_made_table

GOOD, FAIR, BAD = by_tau(4), by_tau(32), by_tau(128)
TABLE = hand_made_table({}, {GOOD: 0.9, FAIR: 0.895, BAD: 0.2})
# One seed has no deviation, so that it is given here.
TABLE.__dict__["seed_deviation"] = 0.01
GOOD_AT, FAIR_AT, BAD_AT = (ORDER.index(recipe) for recipe in (GOOD, FAIR, BAD))


def test_accuracy_is_that_of_the_recipe_at_each_budget() -> None:
    course = Course([10, 20, 20, 50], [BAD_AT, FAIR_AT, GOOD_AT, -1])
    found = accuracies(TABLE, course, [9, 10, 19.9, 20, 49, 50])
    mean = (0.9 + 0.895 + 0.2 + 0.1 * (len(ORDER) - 3)) / len(ORDER)
    assert found == pytest.approx([mean, 0.2, 0.2, 0.9, 0.9, mean])


def test_a_search_that_found_nothing_counts_as_a_pick_without_one() -> None:
    assert accuracies(TABLE, Course([], []), [5.0]) == pytest.approx(TABLE.mean_test_acc.mean())


@pytest.mark.parametrize(
    ("places", "cap", "cost"),
    [
        ([BAD_AT, FAIR_AT, GOOD_AT], 100, 20),
        ([GOOD_AT, BAD_AT, FAIR_AT], 100, 30),
        ([GOOD_AT, BAD_AT, FAIR_AT], 29, math.inf),
        ([GOOD_AT, BAD_AT, FAIR_AT], 15, 10),
        ([GOOD_AT, FAIR_AT, -1], 100, math.inf),
        ([BAD_AT, BAD_AT, BAD_AT], 100, math.inf),
    ],
)
def test_cost_to_reach_asks_for_staying_there(places: list[int], cap: float, cost: float) -> None:
    assert cost_to_reach(TABLE, Course([10, 20, 30], places), cap) == cost


def test_bootstrap_of_one_task_is_scipys() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, (1, 40))
    low, high = interval(resampled_means(values, 10_000))
    known = stats.bootstrap(
        (values[0],), np.mean, method="percentile", n_resamples=10_000, rng=0
    ).confidence_interval
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.02)


def test_bootstrap_over_tasks_knows_that_repeats_are_not_independent() -> None:
    # Ten repeats of two tasks are two numbers, not twenty: the mean is 0, 1/2 or 1.
    values = np.repeat([[0.0], [1.0]], 10, axis=1)
    drawn = resampled_means(values, 4000)
    shares = [np.isclose(drawn, mean).mean() for mean in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        float,
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
        elements=st.floats(-1, 1),
    )
)
def test_resampled_means_lie_among_the_values_and_are_linear(values: np.ndarray) -> None:
    drawn = resampled_means(values, 20, seed=3)
    assert drawn.shape == (20, values.shape[2])
    assert np.all(drawn <= values.max(axis=(0, 1)) + 1e-9)
    assert np.all(drawn >= values.min(axis=(0, 1)) - 1e-9)
    assert resampled_means(2 * values + 1, 20, seed=3) == pytest.approx(2 * drawn + 1)


def test_cheapest_budget_within_a_tolerance() -> None:
    budgets = np.array([10.0, 20.0, 30.0])
    ours = np.array([0.5, 0.697, 0.9])
    assert cheapest(ours, 0.7, budgets, 0.003) == 20
    assert cheapest(ours, 0.7, budgets, 0.002) == 30
    assert cheapest(ours, 0.91, budgets, 0.003) == math.inf
    assert cheapest(np.stack([ours, ours]), np.array([0.5, 0.9]), budgets, 0.0).tolist() == [10, 30]


def test_shortfall_is_the_worst_budget() -> None:
    assert shortfall(np.array([0.5, 0.8]), np.array([0.6, 0.75])) == pytest.approx(0.1)
    assert shortfall(np.array([0.7, 0.8]), np.array([0.6, 0.75])) == pytest.approx(-0.05)
