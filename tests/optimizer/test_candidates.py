from __future__ import annotations

from dataclasses import replace

import pytest

from energytune.optimizer import best_first, pick_candidates
from energytune.optimizer.candidates import confirm_job
from energytune.trial import TrialRecord
from tests.report.hand_made import trial

ZERO = trial(0, (0.80,), tau=0, role="baseline_tau_0")
LARGEST = trial(1, (0.85,), tau=64, role="baseline_tau_max")
OTHERS = [
    trial(2, (0.90,), tau=2),
    trial(3, (0.95,), tau=3, state="PRUNED"),
    trial(4, (0.84,), tau=4),
    trial(5, (0.92,), tau=5),
    trial(6, (), tau=6, state="FAIL"),
]
SEARCH = [ZERO, LARGEST, *OTHERS]
BASELINES = {"baseline_tau_0": ZERO, "baseline_tau_max": LARGEST}


@pytest.mark.parametrize(
    ("n_recipes", "numbers"), [(1, [5, 1, 0]), (2, [5, 2, 1, 0]), (9, [5, 2, 1, 4, 0])]
)
def test_the_best_few_and_the_baselines_in_the_searchs_order(
    n_recipes: int, numbers: list[int]
) -> None:
    found = pick_candidates(SEARCH, BASELINES, n_recipes)
    assert [c.number for c in found] == numbers
    roles = {c.number: c.roles for c in found}
    assert roles[0] == ("baseline_tau_0",)
    assert roles[1] == ("baseline_tau_max",)
    assert roles[5] == ("candidate",)
    assert {c.number for c in found if c.is_baseline} == {0, 1}


def test_only_a_baselines_trial_counts_for_the_noise() -> None:
    """A candidate was picked for being high: its trial is no fair repeat."""
    earlier = {c.number: c.earlier for c in pick_candidates(SEARCH, BASELINES, 2)}
    assert earlier == {5: (), 2: (), 1: (0.85,), 0: (0.80,)}


def test_a_baseline_that_is_the_searchs_best_is_there_once() -> None:
    best = trial(1, (0.99,), tau=64, role="baseline_tau_max")
    found = pick_candidates([ZERO, best, *OTHERS], {**BASELINES, "baseline_tau_max": best}, 1)
    assert [c.number for c in found] == [1, 5, 0]


def test_one_recipe_may_be_both_baselines() -> None:
    (only,) = pick_candidates([ZERO], {"baseline_tau_0": ZERO, "baseline_tau_max": ZERO}, 3)
    assert only.roles == ("baseline_tau_0", "baseline_tau_max")


def test_without_baselines_the_best_few_are_all() -> None:
    assert [c.number for c in pick_candidates(SEARCH, {}, 2)] == [5, 2]


def test_a_recipe_is_confirmed_once() -> None:
    repeated = replace(trial(9, (0.92,), tau=5), duplicate_of=5)
    smoothed = trial(8, (0.80,), tau=0, label_smoothing=0.1)  # at tau = 0 the same recipe
    found = pick_candidates([*SEARCH, repeated, smoothed], BASELINES, 9)
    assert [c.number for c in found] == [5, 2, 1, 4, 0]


def made(accuracy: float, loss: float, number: int) -> TrialRecord:
    record = trial(number, (accuracy,), tau=number)
    assert record.finished is not None
    return replace(record, finished=replace(record.finished, best_valid_loss=loss))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ((0.9, 0.5, 3), (0.8, 0.1, 1)),
        ((0.9, 0.4, 3), (0.9, 0.5, 1)),
        ((0.9, 0.5, 1), (0.9, 0.5, 3)),
    ],
)
def test_ties_go_to_the_lower_loss_then_to_the_lower_number(
    better: tuple[float, float, int], worse: tuple[float, float, int]
) -> None:
    assert [r.job.number for r in best_first([made(*worse), made(*better)])] == [
        better[2],
        worse[2],
    ]


@pytest.mark.parametrize(
    ("n_valid", "numbers"),
    [
        (None, [2, 3, 4, 5]),
        (400, [3, 2, 5, 4]),  # half a standard error is 0.0068 at 0.92, 0.0081 at 0.88
        (40_000, [2, 3, 4, 5]),
    ],
)
def test_a_near_tie_goes_to_the_lower_loss_where_the_images_are_counted(
    n_valid: int | None, numbers: list[int]
) -> None:
    records = [made(0.92, 0.5, 2), made(0.915, 0.4, 3), made(0.88, 0.3, 4), made(0.875, 0.1, 5)]
    for n_recipes in (1, 3, 4):
        found = pick_candidates(records, {}, n_recipes, n_valid)
        assert [c.number for c in found] == numbers[:n_recipes]
    assert [r.job.number for r in best_first(records, n_valid)] == numbers
    baseline = {"baseline_tau_0": records[0]}
    assert [c.number for c in pick_candidates(records, baseline, 1, n_valid)] == numbers[:2]


def test_the_id_of_a_run_names_trial_and_seed() -> None:
    job = confirm_job(7, trial(7, tau=0, label_smoothing=0.1).job.recipe, 1002)
    assert (job.id, job.number, job.seed, job.role) == ("c007-s1002", 7, 1002, "confirm")
    assert job.recipe.label_smoothing == 0.0
