from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from energytune.errors import ConfigError
from energytune.optimizer.race import Beaten, beaten
from energytune.science.noise import SeedNoise, seed_noise

NOISE = SeedNoise(0.01, 2, 12, 10)
KNOWN = SeedNoise(0.01, 1000, 2_000_000, 1_999_000)
"""So many repeats that t is normal."""

values_of = st.integers(1, 7).flatmap(
    lambda n: st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(st.integers(0, 40).map(lambda k: k / 40), min_size=n, max_size=n).map(
            lambda runs: dict(enumerate(runs))
        ),
        min_size=1,
        max_size=6,
    )
)


def constant(n_seeds: int = 3, **levels: float) -> dict[str, dict[int, float]]:
    return {key: dict.fromkeys(range(n_seeds), level) for key, level in levels.items()}


def mean(runs: dict[int, float]) -> float:
    return math.fsum(runs.values())


@settings(max_examples=40, deadline=None)
@given(values_of)
def test_the_best_by_mean_is_never_dropped(values: dict[str, dict[int, float]]) -> None:
    out = beaten(values, noise=NOISE)
    best = max(map(mean, values.values()))
    assert all(mean(values[key]) < best for key in out)
    assert {mean(values[b.leader]) for b in out.values()} <= {best}
    assert all(b.difference > 0 for b in out.values())


@settings(max_examples=40, deadline=None)
@given(values_of, st.randoms())
def test_order_decides_among_equal_leaders_only(values, random) -> None:
    keys = list(values)
    random.shuffle(keys)
    there = beaten({key: values[key] for key in keys}, noise=NOISE)
    here = beaten(values, noise=NOISE)
    best = max(map(mean, values.values()))
    if [mean(runs) for runs in values.values()].count(best) == 1:
        assert here == there


@settings(max_examples=40, deadline=None)
@given(values_of, st.integers(-20, 20))
def test_only_differences_count(values: dict[str, dict[int, float]], shift: int) -> None:
    moved = {k: {s: v + shift / 40 for s, v in runs.items()} for k, runs in values.items()}
    assert beaten(moved, noise=NOISE).keys() == beaten(values, noise=NOISE).keys()


@settings(max_examples=40, deadline=None)
@given(values_of)
def test_protected_ones_stay_and_lead(values: dict[str, dict[int, float]]) -> None:
    everybody = beaten(values, noise=NOISE)
    spared = beaten(values, noise=NOISE, protected={"a", "b"})
    assert spared == {k: b for k, b in everybody.items() if k not in {"a", "b"}}


def test_two_recipes_change_places() -> None:
    assert list(beaten(constant(a=0.9, b=0.8), noise=NOISE)) == ["b"]
    assert list(beaten(constant(a=0.8, b=0.9), noise=NOISE)) == ["a"]
    assert beaten(constant(a=0.9, b=0.9), noise=NOISE) == {}


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("df", [1, 4, 100])
def test_few_seeds_are_judged_by_the_deviation(n_seeds: int, df: int) -> None:
    noise = SeedNoise(0.01, 1, df + 1, df)
    edge = stats.t.isf(0.05 / 2, df) * 0.01 * math.sqrt(2 / n_seeds)  # two comparisons
    values = constant(n_seeds, a=0.95, b=0.95 - 1.001 * edge, c=0.95 - 0.999 * edge)
    out = beaten(values, noise=noise)
    assert list(out) == ["b"]
    assert out["b"].p_value == pytest.approx(0.025, rel=0.01)
    assert (out["b"].leader, out["b"].n_seeds, out["b"].test) == ("a", n_seeds, "t")
    assert out["b"].deviations == pytest.approx(1.001 * edge / 0.01)


@pytest.mark.parametrize("noise", [None, SeedNoise(0.0, 1, 3, 2)])
def test_without_a_deviation_few_seeds_decide_nothing(noise: SeedNoise | None) -> None:
    assert beaten(constant(5, a=0.9, b=0.1), noise=noise) == {}
    assert list(beaten(constant(6, a=0.9, b=0.1), noise=noise)) == ["b"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-30, 30), min_size=6, max_size=10))
def test_many_seeds_are_judged_by_wilcoxon(steps: list[int]) -> None:
    """The reference counts the signs' equally likely patterns, ties and zeros included."""
    values = {
        "a": {seed: 0.5 + step / 100 for seed, step in enumerate(steps)},
        "b": dict.fromkeys(range(len(steps)), 0.5),
    }
    if sum(steps) < 0:
        values = {"b": values["b"], "a": values["a"]}
        steps = [-step for step in steps]
    out = beaten(values, alpha=0.2)
    kept = [step for step in steps if step]
    ranks = stats.rankdata(np.abs(kept))
    seen = sum(rank for rank, step in zip(ranks, kept, strict=True) if step > 0)
    sums = [float(np.dot(signs, ranks)) for signs in product((0, 1), repeat=len(kept))]
    p_value = float(np.mean(np.array(sums) >= seen - 1e-9)) if kept else 1.0
    loser = "b" if list(values) == ["a", "b"] else "a"
    assert list(out) == ([loser] if sum(steps) and p_value <= 0.2 else [])
    if out:
        assert out[loser].p_value == pytest.approx(p_value)
        assert out[loser].test == "wilcoxon"


def test_a_test_that_can_not_decide_leaves_it_to_the_deviation() -> None:
    """Six seeds have p >= 1/64: too much for four comparisons at 0.05."""
    values = constant(6, a=0.9, b=0.8, c=0.8, d=0.8, e=0.8)
    assert beaten(values) == {}
    assert {b.test for b in beaten(values, noise=NOISE).values()} == {"t"}
    more = beaten(constant(7, a=0.9, b=0.8, c=0.8, d=0.8, e=0.8), noise=NOISE)
    assert {b.test for b in more.values()} == {"wilcoxon"}


def test_only_shared_seeds_are_compared() -> None:
    values = {"a": {1: 0.8, 2: 0.9}, "b": {1: 0.9, 3: 0.1}}
    assert list(beaten(values, noise=KNOWN)) == ["a"]
    assert beaten({"a": {1: 0.9}, "b": {2: 0.1}}, noise=KNOWN) == {}


@pytest.mark.parametrize("values", [{}, {"a": {1: 0.5}}, {"a": {}, "b": {}}])
def test_with_one_left_the_race_is_over(values: dict[str, dict[int, float]]) -> None:
    assert beaten(values, noise=NOISE) == {}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha must lie in \(0, 1\)"):
        beaten(constant(a=0.9, b=0.8), alpha=1.0)
    with pytest.raises(ConfigError, match="values must be finite"):
        beaten({"a": {1: math.nan}, "b": {1: 0.5}})


def test_the_reason_has_the_numbers() -> None:
    told = Beaten("key", 0.0213, 2, 0.004, "t", 2.13).reason("t007")
    assert told == "beaten: 2.1 points (2.1 seed deviations) behind t007 after 2 seeds, p = 0.004"
    assert Beaten("key", 0.02, 1, 0.01, "wilcoxon").reason("t001") == (
        "beaten: 2.0 points behind t001 after 1 seed, p = 0.01"
    )


@pytest.mark.parametrize(("n_seeds", "df"), [(1, 2), (1, 10), (2, 4), (7, 10)])
def test_the_truly_best_is_rarely_dropped(n_seeds: int, df: int) -> None:
    """Five recipes, hardly apart; the deviation is estimated from as many repeats as it says."""
    random = np.random.default_rng(n_seeds)
    n_races, n_dropped = 400, 0
    for _ in range(n_races):
        draws = random.normal(0.9, 0.01, size=(5, n_seeds))
        draws[0] += 1e-6
        noise = seed_noise({"repeats": random.normal(0.9, 0.01, size=df + 1).tolist()})
        values = {f"r{i}": dict(enumerate(runs)) for i, runs in enumerate(draws.tolist())}
        n_dropped += "r0" in beaten(values, noise=noise)
    assert n_dropped / n_races <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_races)


def test_what_is_far_behind_is_dropped_soon() -> None:
    random = np.random.default_rng(3)
    draws = random.normal(0.9, 0.01, size=(200, 2, 2))
    draws[:, 1] -= 0.06
    found = [
        "b" in beaten({"a": dict(enumerate(a)), "b": dict(enumerate(b))}, noise=NOISE)
        for a, b in draws.tolist()
    ]
    assert np.mean(found) > 0.9
