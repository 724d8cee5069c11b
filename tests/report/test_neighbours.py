from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.config import Recipe, SearchSpace
from energytune.report.neighbours import DIRECTIONS, Neighbour, neighbours, optimum
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord
from tests.report.hand_made import stopped, trial

SPACE = SearchSpace.model_validate(
    {
        "tau": {"low": 0, "high": 4096},
        "label_smoothing": {"low": 0.0, "high": 0.3},
        "reinit_depth": {"low": 0, "high": 2},
        "ft_lr": {"low": 0.001, "high": 0.1},
    }
)
NOISE = SeedNoise(0.02, 3, 9, 6)
WINNER = trial(0, (0.6, 0.9, 0.8), tau=8)
AROUND = [
    trial(1, (0.88,), ft_lr=0.005),
    trial(2, (0.86,), ft_lr=0.02),
    trial(3, (0.85,), tau=6),
    trial(4, (0.84,), tau=11),
]


def numbers(found: tuple[Neighbour, ...]) -> list[int | None]:
    assert tuple(n.direction for n in found) == DIRECTIONS
    return [n.record and n.record.job.number for n in found]


def around(*records: TrialRecord, winner: TrialRecord = WINNER) -> list[int | None]:
    return numbers(neighbours(winner, [winner, *records], SPACE))


def test_one_neighbour_on_each_side() -> None:
    assert around(*AROUND) == [1, 2, 3, 4]


def test_the_nearest_is_taken_and_of_equals_the_earliest() -> None:
    far = [trial(5, ft_lr=0.04), trial(6, ft_lr=0.02), trial(7, tau=64)]
    assert around(*far, *reversed(AROUND)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "record",
    [
        trial(9, tau=11, head_arch="mlp"),
        trial(9, tau=11, reinit_depth=1),
        trial(9, tau=11, duplicate_of=4),
        trial(9, ft_lr=0.0109),  # by less than a factor of 1.1
        trial(9, label_smoothing=0.3),
        trial(9, tau=11, label_smoothing=0.3),  # mainly along the smoothing
    ],
)
def test_what_is_no_neighbour(record: TrialRecord) -> None:
    assert around(record) == [None] * 4


def test_a_move_along_both_belongs_to_the_longer_one_in_widths_of_the_space() -> None:
    """Of the widths ln(100) and ln(4097), a factor of 2 is 0.15 and 0.083."""
    assert around(trial(1, tau=17, ft_lr=0.02)) == [None, 1, None, None]
    assert around(trial(1, tau=71, ft_lr=0.02)) == [None, None, None, 1]


def test_at_tau_0_smoothing_is_no_distance() -> None:
    smooth = trial(0, tau=1, label_smoothing=0.3)
    assert around(trial(1, tau=0), winner=smooth) == [None, None, 1, None]
    assert around(trial(1, tau=1, label_smoothing=0.3), winner=trial(0, tau=0)) == [
        *(None, None, None, 1)
    ]


def test_a_complete_neighbour_is_compared_by_the_best_epochs() -> None:
    lower, *_ = neighbours(WINNER, AROUND, SPACE, NOISE)
    assert (lower.record, lower.accuracy, lower.epoch) == (AROUND[0], 0.88, 1)
    assert lower.difference == pytest.approx(0.9 - 0.88)
    assert lower.deviations == pytest.approx(1.0)
    assert neighbours(WINNER, AROUND, SPACE)[0].deviations is None


def test_a_pruned_neighbour_is_compared_where_it_ended() -> None:
    pruned = trial(1, (0.5, 0.7), tau=11, state="PRUNED", reason="paused at epoch 2")
    larger = neighbours(WINNER, [pruned], SPACE)[3]
    assert (larger.accuracy, larger.epoch) == (0.7, 2)
    assert larger.difference == pytest.approx(0.9 - 0.7)
    at_one = trial(1, (0.5,), tau=11, state="PRUNED")
    assert neighbours(WINNER, [at_one], SPACE)[3].difference == pytest.approx(0.6 - 0.5)


def test_a_winner_that_stopped_before_has_its_best_there() -> None:
    winner = stopped(0, 3)
    pruned = trial(1, (0.4, 0.4, 0.4, 0.6), tau=11, state="PRUNED")
    assert neighbours(winner, [pruned], SPACE)[3].difference == pytest.approx(0.7 - 0.6)


@pytest.mark.parametrize("state", ["PRUNED", "FAIL"])
def test_a_trial_without_accuracy_is_shown_only_if_there_is_no_other(state: str) -> None:
    silent = trial(1, (), tau=11, state=state)  # type: ignore[arg-type]
    larger = neighbours(WINNER, [silent], SPACE)[3]
    assert larger == Neighbour("larger tau", silent)
    assert not larger.is_at_bound
    assert around(silent, trial(2, tau=16)) == [None, None, None, 2]


def test_a_failure_shows_no_accuracy_though_it_has_a_curve() -> None:
    failed = trial(1, (0.5, 0.6), ft_lr=0.02, state="FAIL")
    assert neighbours(WINNER, [failed], SPACE)[1] == Neighbour("higher ft_lr", failed)
    assert around(failed, trial(2, ft_lr=0.03)) == [None, 2, None, None]


def test_where_none_was_run_the_next_recipe_is_named() -> None:
    found = [n.untried for n in neighbours(WINNER, [], SPACE)]
    assert [(r.ft_lr, r.tau) for r in found if r] == [(0.005, 8), (0.02, 8), (0.01, 6), (0.01, 11)]
    smooth = trial(0, tau=1, label_smoothing=0.2, reinit_depth=2, head_arch="mlp")
    smaller = neighbours(smooth, [], SPACE)[2].untried
    assert smaller == Recipe(tau=0, head_arch="mlp", reinit_depth=2, ft_lr=0.01)


def test_the_next_recipe_stays_in_the_space() -> None:
    edge = trial(0, tau=4096, ft_lr=0.0015)
    lower, higher, _, larger = neighbours(edge, [], SPACE)
    assert lower.untried
    assert lower.untried.ft_lr == 0.001
    assert higher.untried
    assert higher.untried.ft_lr == 0.003
    assert larger.is_at_bound
    lowest = neighbours(trial(0, tau=0, ft_lr=0.00105), [], SPACE)
    assert [n.is_at_bound for n in lowest] == [True, False, True, False]


def test_where_all_is_fixed_every_side_is_a_bound() -> None:
    space = SearchSpace.model_validate({"tau": 8, "ft_lr": 0.01})
    found = neighbours(WINNER, [], space)
    assert all(n.is_at_bound for n in found)
    assert optimum(found, WINNER, space) == ""


def told(*records: TrialRecord, winner: TrialRecord = WINNER, space: SearchSpace = SPACE) -> str:
    return optimum(neighbours(winner, records, space, NOISE), winner, space)


def test_an_interior_optimum_is_told_with_its_doubt() -> None:
    clear = [trial(n.job.number, (0.87,), **_moved(n)) for n in AROUND]  # 1.5 deviations
    assert told(*clear) == "The optimum looks interior: no neighbour in ft_lr or tau is better."
    near = trial(1, (0.89,), ft_lr=0.005)
    assert told(near, *clear[1:]) == (
        "The optimum looks interior: no neighbour in ft_lr or tau is better, but lower ft_lr by "
        "less than a seed deviation worse."
    )


def test_a_better_neighbour_leaves_nothing_to_tell() -> None:
    assert told(trial(1, (0.91,), ft_lr=0.005), *AROUND[1:]) == ""


def test_a_missing_side_leaves_it_open() -> None:
    assert told(*AROUND[:1], AROUND[2]) == (
        "Whether the optimum is interior is open: no result at higher ft_lr and larger tau."
    )


def test_a_border_is_told_before_all_else() -> None:
    lowest = trial(0, (0.9,), ft_lr=0.001)
    assert told(winner=lowest) == "ft_lr is at the space's lower bound: widen it."
    corner = trial(0, (0.9,), tau=4096, ft_lr=0.1)
    assert told(winner=corner) == (
        "ft_lr is at the space's upper bound and tau is at the space's upper bound: widen them."
    )


def test_nothing_lies_below_tau_0() -> None:
    zero = trial(0, (0.9,), tau=0)
    worse = [trial(1, (0.5,), ft_lr=0.005, tau=0), trial(2, (0.5,), ft_lr=0.02, tau=0)]
    assert told(*worse, trial(3, (0.5,), tau=1), winner=zero) == (
        "Beside tau = 0, the least there is, the optimum looks interior: no neighbour in ft_lr or "
        "tau is better."
    )


def test_a_fixed_dimension_is_passed_over() -> None:
    space = SPACE.model_copy(update={"ft_lr": SPACE.ft_lr.model_copy(update={"low": 0.1})})
    winner = trial(0, (0.9,), ft_lr=0.1)
    worse = [trial(1, (0.5,), tau=6, ft_lr=0.1), trial(2, (0.5,), tau=11, ft_lr=0.1)]
    assert told(*worse, winner=winner, space=space) == (
        "The optimum looks interior: no neighbour in tau is better."
    )


def _moved(record: TrialRecord) -> dict[str, float]:
    return {"tau": record.job.recipe.tau, "ft_lr": record.job.recipe.ft_lr}


_TRIALS = st.lists(
    st.builds(
        lambda tau, lr, smoothing: (tau, lr, smoothing if tau else 0.0),
        st.sampled_from(SPACE.taus()),
        st.floats(0.001, 0.1),
        st.sampled_from([0.0, 0.1, 0.2, 0.3]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(_TRIALS, st.randoms())
def test_agrees_with_an_independent_search_in_any_order(
    recipes: list[tuple[int, float, float]], random
) -> None:
    records = [
        trial(i, tau=tau, ft_lr=lr, label_smoothing=smoothing)
        for i, (tau, lr, smoothing) in enumerate(recipes, start=1)
    ]
    wanted: list[int | None] = []
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
        best: tuple[float, int] | None = None
        for number, (tau, lr, smoothing) in enumerate(recipes, start=1):
            x = math.log(lr / 0.01), math.log1p(tau) - math.log1p(8)
            u = (x[0] / math.log(100), x[1] / math.log(4097), smoothing / 0.3 if tau else 0.0)
            rest = sum(v * v for i, v in enumerate(u) if i != axis)
            if sign * x[axis] >= math.log(1.1) and u[axis] ** 2 >= rest:
                place = (math.sqrt(u[axis] ** 2 + rest), number)
                best = place if best is None else min(best, place)
        wanted.append(best and best[1])
    random.shuffle(records)
    assert around(*records) == wanted
