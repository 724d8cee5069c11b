from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from energytune.errors import ConfigError
from energytune.optimizer.candidate_pool import Floats, Pool, make_pool, representatives
from energytune.optimizer.encoding import Encoding
from energytune.optimizer.energy_features import EnergyLookup, Known

GRID: dict[str, BaseDistribution] = {"x": IntDistribution(0, 4), "y": IntDistribution(0, 2)}
PLANE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "y": FloatDistribution(0.0, 1.0),
}


def energy(params: Mapping[str, Any]) -> Known:
    """The same run where x and y are; x = 0 leaves y without effect, and 4 is not probed."""
    x, y = params["x"], 0 if params["x"] == 0 else params["y"]
    return Known((x, y), None if x == 4 else (float(x), float(y) / 2))


def trial(space: Mapping[str, BaseDistribution] = GRID, **params: float) -> FrozenTrial:
    return create_trial(params=params, distributions=dict(space), value=0.0)


def pool_of(
    *seen: tuple[FrozenTrial, float | None],
    space: Mapping[str, BaseDistribution] = GRID,
    lookup: EnergyLookup = energy,
    n_random: int = 16,
) -> Pool:
    return make_pool(
        Encoding(space),
        lookup,
        seen=seen,
        taken={lookup(t.params).key for t, _ in seen},
        n_random=n_random,
        rng=np.random.default_rng(0),
    )


def test_a_small_space_is_looked_at_whole_without_what_was_run_and_without_repeats() -> None:
    pool = pool_of((trial(x=1, y=2), 0.5), (trial(x=0, y=1), None))
    keys = [energy(params).key for params in pool.params]
    assert len(keys) == len(set(keys)) == 4 * 3 - 1
    assert (1, 2) not in keys
    assert (0, 0) not in keys
    assert pool.points.shape == (11, 4)
    assert pool.seen.shape == (2, 4)
    assert pool.n_energy == 2


def test_points_are_recipe_and_energy() -> None:
    pool = pool_of((trial(x=3, y=2), 0.5))
    place = pool.params.index({"x": 2, "y": 1})
    assert pool.points[place] == pytest.approx([0.7 * 0.5, 0.7 * 0.5, 2.0, 0.5])
    assert pool.seen[0] == pytest.approx([0.7 * 0.75, 0.7, 3.0, 1.0])


def test_an_energy_that_is_not_known_or_not_finite_is_at_the_mean() -> None:
    def with_nan(params: Mapping[str, Any]) -> Known:
        known = energy(params)
        return Known(known.key, (math.nan, 0.0)) if params["x"] == 3 else known

    pool = pool_of(lookup=with_nan)
    known = [p for params, p in zip(pool.params, pool.points, strict=True) if params["x"] < 3]
    for x in (3, 4):
        place = pool.params.index({"x": x, "y": 1})
        assert pool.points[place, 2:] == pytest.approx(np.mean(known, axis=0)[2:])


def test_without_any_energy_there_is_the_recipe() -> None:
    pool = pool_of(lookup=lambda params: Known(tuple(params.items())))
    assert (pool.points.shape, pool.n_energy) == ((15, 2), 0)


def test_energy_features_of_different_number_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"equally many.*Got \[1, 2\]"):
        pool_of(lookup=lambda p: Known(tuple(p.items()), (0.0,) * (1 + p["x"] % 2)))


def test_nothing_left_is_an_empty_pool() -> None:
    space = {"x": IntDistribution(0, 1)}
    one = [(trial(space, x=x), 0.5) for x in (0, 1)]
    pool = pool_of(*one, space=space, lookup=lambda p: Known(p["x"], (0.0,)))
    assert pool.params == []
    assert pool.points.shape == (0, 2)


def test_a_continuous_space_gives_random_ones_and_neighbours_of_the_best() -> None:
    def known(params: Mapping[str, Any]) -> Known:
        return Known(tuple(params.items()), (params["x"], params["y"]))

    random = pool_of(space=PLANE, lookup=known, n_random=10)
    assert len(random.params) == 10
    bad = [(trial(PLANE, x=0.9, y=0.05 * i), 0.1) for i in range(9)]
    best = (trial(PLANE, x=0.123, y=0.5), 0.9)
    silent = (trial(PLANE, x=0.777, y=0.5), None)
    pool = pool_of(*bad, best, silent, space=PLANE, lookup=known, n_random=10)
    assert 10 + 7 * 32 < len(pool.params) <= 10 + 8 * 32  # at the border some are the same
    assert sum(params["x"] == 0.123 or params["y"] == 0.5 for params in pool.params) > 5
    assert all(params["x"] != 0.777 for params in pool.params)


def naive_representative(points: Floats, seen: Floats) -> tuple[int, list[float]]:
    """The greedy step of k-medoids by two loops."""
    left = []
    for candidate in points:
        medoids = [*seen, candidate]
        left.append(sum(min(float(np.sum((point - m) ** 2)) for m in medoids) for point in points))
    return int(np.argmin(left)), left


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_candidates=st.integers(1, 12),
    n_seen=st.integers(0, 4),
    n_energy=st.integers(0, 2),
)
def test_the_representative_is_the_greedy_medoid(
    seed: int, n_candidates: int, n_seen: int, n_energy: int
) -> None:
    rng = np.random.default_rng(seed)
    points, seen = rng.random((n_candidates, 4)), rng.random((n_seen, 4))
    pool = Pool([{"x": i} for i in range(n_candidates)], points, seen, n_energy)
    (place,) = representatives(pool, np.random.default_rng(seed))
    _, left = naive_representative(points, seen)
    assert left[place] == pytest.approx(min(left))


@pytest.mark.parametrize("varied", [0, 1])
def test_representatives_are_the_middle_then_spread_out(varied: int) -> None:
    """Whether the recipes differ in themselves or in the energy alone."""
    points = np.full((21, 2), 0.5)
    points[:, varied] = np.linspace(0, 1, 21)
    seen = np.zeros((0, 2))
    picked = []
    for _ in range(3):
        pool = Pool([{}] * 21, points, seen, 1)
        (place,) = representatives(pool, np.random.default_rng(0))
        picked.append(float(points[place, varied]))
        seen = np.vstack([seen, points[place]])
    assert picked[0] == pytest.approx(0.5)
    assert sorted(picked[1:]) == pytest.approx([0.15, 0.85], abs=0.1)


@pytest.mark.parametrize("n", [1, 3, 30])
def test_several_representatives_are_those_of_one_after_the_other(n: int) -> None:
    rng = np.random.default_rng(1)
    points, seen = rng.random((20, 3)), rng.random((2, 3))
    pool = Pool([{}] * 20, points, seen, 1)
    picks = representatives(pool, np.random.default_rng(0), n)
    assert len(picks) == len(set(picks)) == min(n, 20)
    for place in picks:
        _, left = naive_representative(points, seen)
        assert left[place] == pytest.approx(min(left), abs=1e-12)
        seen = np.vstack([seen, points[place]])
