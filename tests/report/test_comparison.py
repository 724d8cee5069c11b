from __future__ import annotations

import math

import pytest

from energytune.report.comparison import compare, confirmed
from energytune.report.intervals import wilson_interval
from tests.report.hand_made import confirmation, small_confirmation, small_search


def test_confirmed_collects_its_own_runs_by_seed() -> None:
    winner = small_search()[2]
    best = confirmed(winner, reversed(small_confirmation()))
    assert best.accuracy_by_seed == {1: 0.88, 2: 0.90, 3: 0.92}
    assert list(best.accuracy_by_seed) == [1, 2, 3]
    assert (best.number, best.recipe, best.n_failed, best.n_test) == (2, winner.job.recipe, 0, 100)
    assert best.mean == pytest.approx(0.90)


def test_interval_counts_each_test_image_once() -> None:
    best = confirmed(small_search()[2], small_confirmation())
    assert best.interval == wilson_interval(best.mean, 100)


def test_without_runs_there_is_nothing_to_tell() -> None:
    nothing = confirmed(small_search()[2], [confirmation(2, 1, -1)])
    assert math.isnan(nothing.mean)
    assert (nothing.interval, nothing.n_failed, nothing.n_test) == (None, 1, 0)


def test_differences_are_paired_by_seed() -> None:
    records = small_search()
    zero, largest = compare(
        records[2], {"tau=0": records[0], "tau=max": records[1]}, small_confirmation()
    )
    assert (zero.baseline, largest.baseline) == ("tau=0", "tau=max")
    assert zero.difference.n == 3
    assert zero.difference.mean == pytest.approx(0.05)  # of 0.04, 0.05, 0.06
    assert zero.difference.excludes_zero
    # The seed that failed for the baseline is left out for the winner too.
    assert largest.difference.n == 2
    assert largest.difference.mean == pytest.approx(0.0)  # of -0.01, +0.01
    assert largest.confirmed.n_failed == 1


def test_a_baseline_that_won_is_told_apart() -> None:
    records = small_search()
    (only,) = compare(records[0], {"tau=0": records[0]}, small_confirmation())
    assert only.is_winner
    assert only.difference.mean == 0.0


def test_no_confirmation_gives_no_difference() -> None:
    records = small_search()
    (only,) = compare(records[2], {"tau=0": records[0]}, [])
    assert (only.difference.n, only.difference.interval) == (0, None)
