from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energytune.config import Recipe, SearchSpace, snapshot_epochs

LEAST: dict[str, Any] = {"tau": {"low": 0, "high": 64}, "ft_lr": {"low": 0.001, "high": 0.1}}


def space(**changes: Any) -> SearchSpace:
    return SearchSpace.model_validate({**LEAST, **changes})


def test_two_dimensions_are_enough() -> None:
    least = space()
    assert least.head_arch.choices == ("linear", "mlp")
    assert least.fixed() == {"label_smoothing": 0.0, "reinit_depth": 0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tau", 8),
        ("head_arch", "mlp"),
        ("label_smoothing", 0.1),
        ("reinit_depth", 2),
        ("ft_lr", 0.02),
    ],
)
def test_a_bare_value_fixes_a_dimension(name: str, value: Any) -> None:
    assert space(**{name: value}).fixed()[name] == value


def test_heads_may_be_a_bare_list() -> None:
    assert space(head_arch=["mlp", "linear"]).head_arch.choices == ("mlp", "linear")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tau", {"low": -1, "high": 8}),
        ("tau", {"low": 9, "high": 8}),
        ("tau", {"low": 0, "high": 10_000_000}),
        ("tau", {"low": 0, "high": 8.5}),
        ("head_arch", []),
        ("head_arch", ["linear", "linear"]),
        ("head_arch", "conv"),
        ("label_smoothing", {"low": 0.0, "high": 1.0}),
        ("label_smoothing", {"low": 0.2, "high": 0.1}),
        ("label_smoothing", {"low": 0.0, "high": 0.2, "step": 0}),
        ("reinit_depth", -1),
        ("ft_lr", {"low": 0, "high": 0.1}),
        ("ft_lr", {"low": 0.001, "high": math.inf}),
        ("ft_lr", {"low": 0.001, "high": 0.1, "default": 0.2}),
        ("probe", {"momentum": 1.0}),
        ("finetune", {"epochs": 0}),
        ("taus", 8),
    ],
)
def test_rules_are_held(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        space(**{name: value})


def test_a_space_is_immutable() -> None:
    with pytest.raises(ValidationError):
        space().tau.low = 1  # type: ignore[misc]


@given(
    low=st.integers(0, 5000),
    more=st.integers(0, 5000),
    smoothing=st.floats(0, 0.9),
    tau=st.integers(0, 5000),
)
def test_a_baseline_is_canonical_and_plainest(
    low: int, more: int, smoothing: float, tau: int
) -> None:
    some = space(
        tau={"low": low, "high": low + more},
        label_smoothing={"low": smoothing, "high": 0.95},
        reinit_depth={"low": 1, "high": 2},
    )
    baseline = some.baseline(tau)
    assert baseline == baseline.canonical()
    assert baseline.tau == tau
    assert baseline.head_arch == "linear"
    assert baseline.reinit_depth == 1
    assert baseline.label_smoothing == (smoothing if tau else 0.0)


def test_the_baselines_rate_is_the_default_or_the_geometric_mean() -> None:
    assert space().baseline(0).ft_lr == 0.01
    rates = {"low": 0.001, "high": 0.1, "default": 0.003}
    assert space(ft_lr=rates).baseline(64) == Recipe(tau=64, ft_lr=0.003)


@given(low=st.integers(0, 5000), more=st.integers(0, 5000))
def test_taus_are_the_grid_within_bounds(low: int, more: int) -> None:
    high = low + more
    taus = space(tau={"low": low, "high": high}).taus()
    assert taus[0] == low
    assert taus[-1] == high
    assert set(taus) - {low} <= set(snapshot_epochs(high))
