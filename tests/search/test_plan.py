from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import SearchConfig
from energytune.report.cost_plan import Span, TrialPlan
from energytune.search.plan import least_bytes, make_plan, n_confirm_runs, plan_trials
from energytune.trial.timing import Timing

MakeConfig = Callable[..., SearchConfig]
TIMING = Timing(hp_epoch_s=0.001, ft_epoch_s=0.1, weights_bytes=1000)


def test_without_rungs_all_trials_run_to_the_end_or_until_their_patience_ends() -> None:
    assert plan_trials(5, 2, 100) == TrialPlan((100,), (5,), Span(500, 500))
    plan = plan_trials(5, 2, 100, patience_epochs=20)
    assert plan.ft_epochs == Span(5 * 21, 500)


def test_of_four_that_come_to_a_rung_one_goes_on() -> None:
    plan = plan_trials(34, 2, 200, rungs=[16, 64], n_finalists=1)
    # 32 others: (32 + 2) // 4 = 8 go on, then (8 + 2) // 4 = 2
    assert plan.n_come == (34, 10, 4)
    assert plan.ft_epochs.high == 34 * 16 + 10 * 48 + 4 * 136


def test_finalists_are_run_to_the_end_and_have_come_to_every_rung() -> None:
    plan = plan_trials(5, 2, 200, rungs=[16, 64], n_finalists=3)
    assert plan.n_come == (5, 5, 5)
    assert plan_trials(1, 2, 200, rungs=[16], n_finalists=3).n_come == (1, 1)


@given(
    n=st.integers(1, 300),
    more=st.integers(0, 50),
    n_baselines=st.integers(0, 2),
    n_epochs=st.integers(2, 300),
    rungs=st.sets(st.integers(1, 299), max_size=4),
    n_finalists=st.integers(0, 5),
    patience=st.none() | st.integers(1, 60),
)
def test_more_trials_never_cost_less_and_the_least_is_not_above_the_most(
    n: int,
    more: int,
    n_baselines: int,
    n_epochs: int,
    rungs: set[int],
    n_finalists: int,
    patience: int | None,
) -> None:
    settings: dict[str, Any] = {
        "rungs": sorted(rung for rung in rungs if rung < n_epochs),
        "n_finalists": n_finalists,
        "patience_epochs": patience,
    }
    one = plan_trials(n, n_baselines, n_epochs, **settings)
    two = plan_trials(n + more, n_baselines, n_epochs, **settings)
    assert one.ft_epochs.low <= two.ft_epochs.low
    assert one.ft_epochs.high <= two.ft_epochs.high
    assert 0 < one.ft_epochs.low <= one.ft_epochs.high <= n * n_epochs
    assert list(one.n_come) == sorted(one.n_come, reverse=True)
    assert one.n_come[0] == n


def test_a_plan_has_all_numbers(make_config: MakeConfig) -> None:
    config = make_config(n_trials=6, n_confirm_recipes=2, n_confirm_seeds=3)
    plan = make_plan(config, TIMING, concurrency=2, feature_bytes=5000)
    assert plan.n_map_heads == 2 * 2  # two heads, smoothing's ends
    assert plan.map_hp_epochs == 64
    assert plan.n_confirm_runs == Span(4 + 3 * 2, 4 * 3)
    assert plan.confirm_ft_epochs == Span(10 * 12, 12 * 12)
    assert plan.trials.ft_epochs.high <= 6 * 12
    most_hp = plan.hp_epochs.high + 3 * (64 + 2 * 64)
    most_ft = plan.trials.ft_epochs.high + 12 * 12
    assert plan.train_s.high == pytest.approx((0.001 * most_hp + 0.1 * most_ft) / 2)
    assert plan.disk_bytes.low > 5000
    assert plan.disk_bytes.high > plan.disk_bytes.low
    assert not plan.is_most


def test_more_at_once_take_less_time_and_larger_models_more_disk(make_config: MakeConfig) -> None:
    config = make_config(n_trials=20)
    one = make_plan(config, TIMING, concurrency=1)
    two = make_plan(config, TIMING, concurrency=4)
    assert two.train_s == Span(one.train_s.low / 4, one.train_s.high / 4)
    large = make_plan(config, Timing(0.001, 0.1, 10**9), concurrency=1)
    assert large.disk_bytes.low >= 2 * 10**9
    assert least_bytes(config, 10**9) >= n_confirm_runs(config) * 10**9


@pytest.mark.parametrize(
    "limit",
    [{"time_budget_s": 9.0}, {"gpu_hours": 1.0}, {"max_disk": "9GB"}, {"until": "converged"}],
)
def test_another_limit_makes_the_number_of_trials_the_most(
    make_config: MakeConfig, limit: dict[str, Any]
) -> None:
    assert make_plan(make_config(**limit), TIMING, concurrency=1).is_most


def test_a_budget_of_epochs_bounds_the_plan(make_config: MakeConfig) -> None:
    config = make_config(n_trials=500, ft_epochs_budget=100, pruner="none")
    plan = make_plan(config, TIMING, concurrency=1)
    assert plan.trials.ft_epochs == Span(100, 100 + 2 * 12)


@pytest.mark.parametrize("pruner", ["none", "median", "energy"])
def test_every_pruner_has_a_plan(make_config: MakeConfig, pruner: str) -> None:
    plan = make_plan(make_config(n_trials=20, pruner=pruner), TIMING, concurrency=1)
    assert 20 <= plan.trials.ft_epochs.low <= plan.trials.ft_epochs.high <= 240
