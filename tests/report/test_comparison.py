from __future__ import annotations

import math
from dataclasses import replace

import pytest

from energytune.report.comparison import compare, confirmed, lead, noise_on_test
from energytune.report.intervals import wilson_interval
from energytune.science.noise import SeedNoise, seed_noise
from energytune.trial import TrialRecord
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


def test_differences_are_told_in_the_seed_deviation_of_the_test_accuracy() -> None:
    records = small_search()
    noise = noise_on_test(small_confirmation())
    assert noise == seed_noise(
        {"a": [0.88, 0.90, 0.92], "b": [0.84, 0.85, 0.86], "c": [0.89, 0.91]}
    )
    assert noise is not None
    (zero,) = compare(records[2], {"tau=0": records[0]}, small_confirmation())
    assert zero.deviations == pytest.approx(0.05 / noise.deviation)


def test_one_seed_tells_no_deviation() -> None:
    records = small_search()
    runs = [confirmation(2, 1, 90), confirmation(0, 1, 85)]
    assert noise_on_test(runs) is None
    (zero,) = compare(records[2], {"tau=0": records[0]}, runs)
    assert zero.deviations is None


def test_a_run_that_was_not_tested_has_not_failed() -> None:
    run = confirmation(2, 1, 90)
    assert run.finished is not None
    beaten = replace(run, finished=replace(run.finished, test=None))
    best = confirmed(small_search()[2], [beaten, confirmation(2, 2, -1)])
    assert (best.accuracy_by_seed, best.n_failed) == ({}, 1)


def test_a_lead_on_valid_is_paired_by_seed() -> None:
    records = small_search()

    def on_valid(number: int, seed: int, accuracy: float) -> TrialRecord:
        run = confirmation(number, seed, 50)
        assert run.finished is not None
        return replace(run, finished=replace(run.finished, objective=accuracy, test=None))

    runs = [
        *(on_valid(2, seed, accuracy) for seed, accuracy in ((1, 0.9), (2, 0.92), (3, 0.5))),
        *(on_valid(1, seed, accuracy) for seed, accuracy in ((2, 0.89), (1, 0.88))),
    ]
    found = lead(records[2], records[1], runs, SeedNoise(0.0125, 2, 5, 3))
    assert (found.number, found.recipe) == (1, records[1].job.recipe)
    assert found.difference.n == 2
    assert found.difference.mean == pytest.approx(0.025)
    assert found.deviations == pytest.approx(2.0)


def test_a_lead_without_shared_seeds_or_noise_is_not_known() -> None:
    records = small_search()
    nothing = lead(records[2], records[1], [], SeedNoise(0.01, 2, 5, 3))
    assert (nothing.difference.n, nothing.deviations) == (0, None)
    assert lead(records[2], records[0], small_confirmation(), None).deviations is None
