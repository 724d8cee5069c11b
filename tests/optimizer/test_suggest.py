from __future__ import annotations

import math
import warnings

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.config import Recipe
from energytune.optimizer.suggest import (
    distributions,
    fit_params,
    params_of,
    recipe_of_params,
    suggest,
)
from tests.optimizer.fakes import make_space


def fixed_trial(**changes: object) -> optuna.trial.FixedTrial:
    params = {
        "tau_plus_1": 10,
        "head_arch": "mlp",
        "label_smoothing": 0.1,
        "reinit_depth": 1,
        "ft_lr": 0.0123456,
    }
    return optuna.trial.FixedTrial(params | changes)


def test_parameters_are_the_searched_dimensions() -> None:
    assert list(distributions(make_space())) == [
        "tau_plus_1",
        "head_arch",
        "label_smoothing",
        "reinit_depth",
        "ft_lr",
    ]
    assert list(distributions(make_space(tau=8, head_arch="mlp"))) == [
        "label_smoothing",
        "reinit_depth",
        "ft_lr",
    ]


@pytest.mark.parametrize(
    ("params", "recipe"),
    [
        ({}, {"tau": 8}),  # 9 lies between the snapshots 8 and 11
        ({"tau_plus_1": 1}, {"tau": 0, "label_smoothing": 0.0}),  # canonical
        ({"tau_plus_1": 4097}, {"tau": 4096}),
        ({"label_smoothing": 0.05 * 3}, {"label_smoothing": 0.15}),
    ],
)
def test_suggest_snaps_and_rounds(params: dict[str, object], recipe: dict[str, object]) -> None:
    expected = {
        "tau": 8,
        "head_arch": "mlp",
        "label_smoothing": 0.1,
        "reinit_depth": 1,
        "ft_lr": 0.01235,
    }
    assert suggest(fixed_trial(**params), make_space()).to_dict() == expected | recipe


def test_suggest_does_not_snap_where_the_space_does_not() -> None:
    space = make_space(tau={"low": 0, "high": 4096, "snap": False})
    assert suggest(fixed_trial(), space).tau == 9


def test_rounding_stays_within_the_bounds() -> None:
    space = make_space(ft_lr={"low": 0.00123456, "high": 0.0123456})
    assert suggest(fixed_trial(), space).ft_lr == 0.0123456


def test_fixed_dimensions_are_in_the_recipe() -> None:
    space = make_space(tau=8, head_arch="linear", ft_lr=0.02)
    recipe = suggest(fixed_trial(), space)
    assert (recipe.tau, recipe.head_arch, recipe.ft_lr) == (8, "linear", 0.02)


def test_an_enqueued_recipe_wins_over_its_parameters() -> None:
    study = optuna.create_study()
    space = make_space(tau=8)
    whole = space.baseline(0)
    study.enqueue_trial(params_of(whole, space), user_attrs={"recipe": whole.to_dict()})
    trial = study.ask()
    assert suggest(trial, space) == whole
    assert set(trial.params) == set(distributions(space))


def test_a_step_that_does_not_divide_the_range_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = distributions(make_space(label_smoothing={"low": 0.0, "high": 0.3, "step": 0.07}))
    assert isinstance(found["label_smoothing"], optuna.distributions.FloatDistribution)
    assert found["label_smoothing"].high == 0.28


@settings(max_examples=60, deadline=None)
@given(
    tau=st.integers(0, 10_000),
    smoothing=st.floats(0, 0.99),
    depth=st.integers(0, 9),
    ft_lr=st.floats(1e-6, 10),
    step=st.sampled_from([None, 0.05, 0.07]),
)
def test_any_recipe_can_be_enqueued_without_a_warning(
    tau: int, smoothing: float, depth: int, ft_lr: float, step: float | None
) -> None:
    recipe = Recipe(tau=tau, label_smoothing=smoothing, reinit_depth=depth, ft_lr=ft_lr)
    space = make_space(
        tau={"low": 2, "high": 64}, label_smoothing={"low": 0.0, "high": 0.3, "step": step}
    )
    params = params_of(recipe, space)
    for name, dist in distributions(space).items():
        assert dist._contains(dist.to_internal_repr(params[name]))
    if 2 <= tau <= 64:
        assert params["tau_plus_1"] == tau + 1
    if 1e-3 <= ft_lr <= 1e-1:
        assert params["ft_lr"] == ft_lr


def test_unknown_parameters_and_choices_are_left_out() -> None:
    space = make_space(head_arch="linear")
    assert fit_params({"head_arch": "mlp", "colour": 3, "ft_lr": 0.05}, space) == {"ft_lr": 0.05}
    assert fit_params({"head_arch": "conv"}, make_space()) == {}


def test_sampled_taus_cover_the_grid_on_a_log_scale() -> None:
    space = make_space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    taus = [suggest(study.ask(), space).tau for _ in range(200)]
    assert set(taus) <= set(space.taus())
    assert 0 in taus
    median = sorted(taus)[100]
    assert abs(math.log2(1 + median) - 6) < 1.5


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), tau=st.sampled_from([8, {"low": 0, "high": 300}]))
def test_the_recipe_of_a_trials_parameters_is_the_suggested_one(seed: int, tau: object) -> None:
    space = make_space(tau=tau)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    recipe = suggest(trial, space)
    assert recipe_of_params(trial.params, space) == recipe
    assert recipe_of_params(trial.params | {"colour": 3}, space) == recipe
