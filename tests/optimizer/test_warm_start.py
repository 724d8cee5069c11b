from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

from energytune.optimizer.energy_features import Known
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.past_search import Energies, PastSearch
from energytune.optimizer.samplers import make_sampler
from energytune.optimizer.warm_start import WARM_START, WarmStart

GRID: NDArray[np.float64] = np.array([[a, b, 0.0] for a in range(5) for b in range(5)], dtype=float)
"""Energies of recipes, far enough from each other for the kernel to tell them apart."""
NOTHING: NDArray[np.float64] = np.zeros((0, 3))
SPACE = {"a": IntDistribution(0, 4), "b": IntDistribution(0, 4)}


def map_at(value: float) -> Energies:
    return dict.fromkeys(range(10), (value, value))


def search_with_best(place: int, far: float = 0.0, name: str = "before") -> PastSearch:
    """A search that has run the whole grid; scores fall with the distance to ``place``."""
    apart = np.linalg.norm(GRID - GRID[place], axis=1)
    return PastSearch(name, GRID, 1.0 - apart / apart.max(), map_at(0.5 + far))


def start(*past: PastSearch, **settings: Any) -> WarmStart:
    return WarmStart(map_at(0.5), past, **settings)


@pytest.mark.parametrize("place", [0, 7, 12, 24])
def test_the_first_pick_is_near_what_the_search_found_best(place: int) -> None:
    picked = start(search_with_best(place)).pick(GRID, NOTHING)
    assert picked is not None
    assert np.linalg.norm(GRID[picked] - GRID[place]) <= 1.0


def test_of_two_searches_the_nearer_one_wins() -> None:
    near, far = search_with_best(0, 0.01), search_with_best(24, 0.09)
    for past in ((near, far), (far, near)):
        picked = start(*past).pick(GRID, NOTHING)
        assert picked is not None
        assert np.linalg.norm(GRID[picked] - GRID[0]) < np.linalg.norm(GRID[picked] - GRID[24])


def test_a_search_that_is_not_near_says_nothing() -> None:
    warm = start(search_with_best(0, 0.125), search_with_best(0, 0.4), threshold=0.125)
    assert warm.near == ()
    assert warm.pick(GRID, NOTHING) is None
    assert start().pick(GRID, NOTHING) is None


def test_a_map_without_shared_places_is_not_near_at_any_threshold() -> None:
    other = PastSearch("other", GRID, np.ones(25), {"elsewhere": (0.5, 0.5)})
    assert start(other, threshold=1e9).near == ()


def test_the_second_pick_is_not_where_the_first_was() -> None:
    warm = start(search_with_best(12))
    first = warm.pick(GRID, NOTHING)
    assert first is not None
    second = warm.pick(GRID, GRID[[first]], n_made=1)
    assert second is not None
    assert np.linalg.norm(GRID[second] - GRID[first]) >= 1.0


@pytest.mark.parametrize(("n_picks", "n_made"), [(0, 0), (1, 1), (2, 2), (2, 5)])
def test_enough_is_enough(n_picks: int, n_made: int) -> None:
    assert start(search_with_best(0), n_picks=n_picks).pick(GRID, NOTHING, n_made) is None


def test_nothing_is_picked_where_no_candidate_is_better_than_the_middle() -> None:
    warm = start(search_with_best(0))
    assert warm.pick(GRID[[24]], NOTHING) is None
    assert warm.pick(NOTHING, NOTHING) is None
    assert warm.pick(GRID[[24]] + 1000.0, NOTHING) is None


def test_scores_are_weighted_means_that_are_drawn_to_the_middle() -> None:
    points = np.array([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0]])
    past = PastSearch("two", points, np.array([1.0, 0.0]), map_at(0.55))
    kernel = math.exp(-0.5)
    near = 0.5  # half the way to the threshold
    expected = (0.3 * 0.5 + near * 1.0) / (0.3 + near * (1 + kernel))
    assert start(past).scores(points)[0] == pytest.approx(expected)
    assert start(past).scores(points + 1e3) == pytest.approx([0.5, 0.5])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 1)), min_size=1, max_size=12),
    st.lists(st.floats(-4, 4), min_size=1, max_size=12),
    st.floats(0.0, 0.099),
)
def test_scores_stay_in_the_unit_interval_and_do_not_depend_on_order(
    trials: list[tuple[float, float]], candidates: list[float], far: float
) -> None:
    features = np.array([[x] for x, _ in trials])
    values = np.array([score for _, score in trials])
    one = start(PastSearch("p", features, values, map_at(0.5 + far)))
    other = start(PastSearch("p", features[::-1], values[::-1], map_at(0.5 + far)))
    points = np.array(candidates)[:, None]
    scores = one.scores(points)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores == pytest.approx(other.scores(points))


@pytest.mark.parametrize(
    ("past", "told"),
    [
        ([], "no warm start: there is no earlier search to learn from"),
        ([0.31], "no warm start: the nearest earlier search is at distance 0.31, 0.1 is near"),
        ([0.04], "warm start from 1 earlier search: s0 (distance 0.04)"),
        (
            [0.05, 0.3, 0.02, 0.03, 0.01],
            "warm start from 4 earlier searches: s4 (distance 0.01), s2 (distance 0.02), "
            "s3 (distance 0.03), 1 more",
        ),
    ],
)
def test_a_person_is_told_which_searches_are_asked(past: list[float], told: str) -> None:
    searches = [search_with_best(0, far, f"s{i}") for i, far in enumerate(past)]
    assert start(*searches).describe() == told


def known(params: Mapping[str, Any]) -> Known:
    point = (float(params["a"]), float(params["b"]), 0.0)
    return Known(point[:2], point)


def run(warm_start: WarmStart | None, n_trials: int, seed: int = 3) -> optuna.Study:
    sampler = make_sampler("energy", seed, energy=known, space=SPACE, warm_start=warm_start)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(n_trials):
        asked = study.ask(SPACE)
        study.tell(asked, float(asked.params["a"]))
    return study


def warm_numbers(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.trials if WARM_START in trial.system_attrs]


def test_the_sampler_takes_the_picks_first_and_marks_them() -> None:
    study = run(start(search_with_best(24), n_picks=2), n_trials=4)
    assert warm_numbers(study) == [0, 1]
    first = study.trials[0]
    assert (first.params["a"], first.params["b"]) in {(4, 4), (4, 3), (3, 4), (3, 3)}
    assert first.system_attrs[WARM_START] == ["before"]


def test_without_a_near_search_the_sampler_goes_as_if_there_were_none() -> None:
    far = run(start(search_with_best(24, 0.4)), n_trials=7)
    cold = run(None, n_trials=7)
    assert [t.params for t in far.trials] == [t.params for t in cold.trials]
    assert warm_numbers(far) == []


def test_a_warm_search_is_the_same_again_and_where_it_is_continued() -> None:
    def warm() -> WarmStart:
        return start(search_with_best(24, 0.01), search_with_best(2, 0.05), n_picks=2)

    whole = run(warm(), n_trials=6)
    begun = run(warm(), n_trials=1)
    begun.sampler = make_sampler("energy", 3, energy=known, space=SPACE, warm_start=warm())
    for _ in range(5):
        asked = begun.ask(SPACE)
        begun.tell(asked, float(asked.params["a"]))
    assert [t.params for t in begun.trials] == [t.params for t in whole.trials]
    assert warm_numbers(begun) == warm_numbers(whole) == [0, 1]


def test_a_sampler_without_energy_asks_no_other_search() -> None:
    space = {"x": FloatDistribution(0.0, 1.0)}
    sampler = EnergySampler(space=space, seed=0, warm_start=start(search_with_best(0)))
    study = optuna.create_study(sampler=sampler)
    study.tell(study.ask(space), 0.0)
    assert warm_numbers(study) == []
