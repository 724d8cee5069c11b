from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from energytune.errors import ConfigError
from energytune.science.noise import SeedNoise, in_deviations, seed_noise

ACCURACIES = st.floats(0.0, 1.0, allow_subnormal=False)
GROUPS = st.dictionaries(st.text(max_size=3), st.lists(ACCURACIES, max_size=5), max_size=5)


@given(GROUPS)
def test_it_is_the_root_of_the_within_groups_mean_square(groups: dict[str, list[float]]) -> None:
    noise = seed_noise(groups)
    repeated = [values for values in groups.values() if len(values) > 1]
    if not repeated:
        assert noise is None
        return
    assert noise is not None
    squares = sum(np.var(values) * len(values) for values in repeated)
    df = sum(len(values) - 1 for values in repeated)
    assert noise.deviation == pytest.approx(math.sqrt(squares / df), abs=1e-9)
    assert (noise.n_recipes, noise.n_runs) == (len(repeated), sum(map(len, repeated)))
    assert noise.degrees_of_freedom == df


@given(st.lists(ACCURACIES, min_size=2, max_size=6))
def test_one_recipe_gives_the_sample_deviation(values: list[float]) -> None:
    noise = seed_noise({"a": values})
    assert noise is not None
    assert noise.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@given(GROUPS, st.floats(-0.5, 0.5))
def test_a_recipes_own_level_does_not_count(groups: dict[str, list[float]], by: float) -> None:
    moved = {name: [v + by * len(name) for v in values] for name, values in groups.items()}
    before, after = seed_noise(groups), seed_noise(moved)
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert after.deviation == pytest.approx(before.deviation, abs=1e-7)


@pytest.mark.parametrize("groups", [{}, {"a": []}, {"a": [0.5], "b": [0.9]}])
def test_without_repeats_there_is_nothing(groups: dict[str, list[float]]) -> None:
    assert seed_noise(groups) is None


def test_equal_runs_have_no_noise() -> None:
    noise = seed_noise({"a": [0.1, 0.1, 0.1]})
    assert noise == SeedNoise(0.0, 1, 3, 2)
    assert noise.interval() == (0.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="values of 'a' must be finite"):
        seed_noise({"a": [0.5, value]})


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_interval_is_that_of_chi_square(df: int, confidence: float) -> None:
    low, high = SeedNoise(2.0, 1, df + 1, df).interval(confidence)
    bounds = stats.chi2.interval(confidence, df)
    assert low == pytest.approx(2.0 * math.sqrt(df / bounds[1]))
    assert high == pytest.approx(2.0 * math.sqrt(df / bounds[0]))
    assert low < high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(0.9, 0.012, size=(400, 3, 3))
    hits = 0
    for draw in draws:
        noise = seed_noise(dict(enumerate(draw)))
        assert noise is not None
        low, high = noise.interval(0.9)
        hits += low <= 0.012 <= high
    assert 0.86 < hits / len(draws) < 0.94


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ConfigError, match=r"confidence must lie in \(0, 1\)"):
        SeedNoise(1.0, 1, 2, 1).interval(confidence)


def test_differences_in_deviations() -> None:
    noise = SeedNoise(0.01, 2, 6, 4)
    assert in_deviations(0.018, noise) == pytest.approx(1.8)
    assert in_deviations(-0.005, noise) == pytest.approx(-0.5)
    assert in_deviations(0.018, None) is None
    assert in_deviations(0.018, SeedNoise(0.0, 1, 2, 1)) is None
    assert in_deviations(math.nan, noise) is None
