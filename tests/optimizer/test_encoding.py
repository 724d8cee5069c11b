from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from energytune.optimizer.encoding import Encoding, only_value

SPACE: dict[str, BaseDistribution] = {
    "tau": IntDistribution(1, 4097, log=True),
    "depth": IntDistribution(0, 2),
    "even": IntDistribution(-4, 4, step=2),
    "head": CategoricalDistribution(("linear", "mlp", None)),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "smoothing": FloatDistribution(0.0, 0.3, step=0.05),
    "momentum": FloatDistribution(-1.0, 2.0),
}
DISCRETE = {name: SPACE[name] for name in ("depth", "even", "head", "smoothing")}


def legal(params: dict[str, object], space: dict[str, BaseDistribution]) -> bool:
    return all(d._contains(d.to_internal_repr(params[n])) for n, d in space.items())


@pytest.mark.parametrize(
    ("dist", "value", "position"),
    [
        (IntDistribution(1, 4096, log=True), 64, 0.5),
        (IntDistribution(0, 4), 1, 0.25),
        (IntDistribution(3, 3), 3, 0.0),
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3, 0.5),
        (FloatDistribution(-1.0, 1.0), 1.0, 1.0),
        (FloatDistribution(0.0, 0.3, step=0.05), 0.15, 0.5),
    ],
)
def test_a_number_is_a_position_on_its_scale(
    dist: BaseDistribution, value: float, position: float
) -> None:
    assert Encoding({"x": dist}).point({"x": value}) == pytest.approx([position])


def test_different_choices_are_1_apart() -> None:
    encoding = Encoding({"head": CategoricalDistribution(("a", "b", "c"))})
    points = encoding.points([{"head": choice} for choice in "abc"])
    assert points.shape == (3, 3)
    for one, other in combinations(points, 2):
        assert np.linalg.norm(one - other) == pytest.approx(1.0)


def test_no_parameters_have_no_rows_and_all_coordinates() -> None:
    assert Encoding(SPACE).points([]).shape == (0, 9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_drawn_or_changed_is_legal_and_comes_back(seed: int) -> None:
    encoding, rng = Encoding(SPACE), np.random.default_rng(seed)
    params = encoding.random(rng)
    near = encoding.neighbour(params, rng)
    for one in (params, near):
        assert legal(one, SPACE)
        assert list(one) == list(SPACE)
        point = encoding.point(one)
        assert np.all((point >= 0.0) & (point <= 1.0))
        assert not any(isinstance(value, np.generic) for value in one.values())
    assert sum(params[name] != near[name] for name in SPACE) <= 2


@settings(max_examples=60, deadline=None)
@given(
    low=st.integers(-50, 50),
    width=st.integers(1, 60),
    step=st.integers(1, 7),
    start=st.floats(0.001, 10),
    factor=st.floats(1.01, 1e4),
    seed=st.integers(0, 1000),
)
def test_any_distributions_values_are_legal(
    low: int, width: int, step: int, start: float, factor: float, seed: int
) -> None:
    high = low + width // step * step
    space: dict[str, BaseDistribution] = {
        "int": IntDistribution(low, high, step=step),
        "log_int": IntDistribution(1, 1 + width, log=True),
        "log": FloatDistribution(start, start * factor, log=True),
        "stepped": FloatDistribution(float(low), low + width * 0.25, step=0.25),
    }
    rng = np.random.default_rng(seed)
    assert all(legal(Encoding(space).random(rng), space) for _ in range(8))
    ends = {n: d for n, d in space.items() if n in ("int", "stepped")}
    assert all(legal(params, ends) for params in list(Encoding(ends).every())[:50])


def test_a_discrete_space_is_listed_whole_and_once() -> None:
    encoding = Encoding(DISCRETE)
    every = list(encoding.every())
    assert len(every) == encoding.n_values() == 3 * 5 * 3 * 7
    assert len({tuple(params.items()) for params in every}) == len(every)
    assert all(legal(params, DISCRETE) for params in every)
    assert every == list(encoding.every())


def test_one_continuous_dimension_makes_a_space_endless() -> None:
    assert Encoding(SPACE).n_values() == math.inf
    assert Encoding({"x": FloatDistribution(2.0, 2.0)}).n_values() == 1


@pytest.mark.parametrize(
    ("dist", "value"),
    [
        (CategoricalDistribution(("sgd",)), "sgd"),
        (IntDistribution(3, 3), 3),
        (IntDistribution(1, 1, log=True), 1),
        (FloatDistribution(0.5, 0.5), 0.5),
        (FloatDistribution(0.5, 0.5, step=0.1), 0.5),
    ],
)
def test_the_only_value(dist: BaseDistribution, value: object) -> None:
    assert only_value(dist) == value
