"""What is read from a trial, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.config import Recipe
from energytune.errors import ConfigError
from energytune.optimizer.probed import probed_of
from tests.optimizer.fakes import probe_at

HP = {"train_acc": 0.8, "aie": 0.3, "head_norm": 2.0, "valid_loss": 0.6}


def make_trial(params: dict[str, Any] | None = None, **attrs: Any) -> FrozenTrial:
    kinds: dict[type, Any] = {
        int: IntDistribution(-(10**6), 10**6),
        float: FloatDistribution(-1e6, 1e6),
    }
    params = params or {}
    return create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions={
            k: kinds.get(type(v)) or CategoricalDistribution([v]) for k, v in params.items()
        },
        user_attrs=attrs,
    )


def test_the_trials_own_parameters_are_read_by_name() -> None:
    probed = probed_of(
        make_trial(
            {
                "tau_plus_1": 9,
                "head_arch": "mlp",
                "label_smoothing": 0.1,
                "reinit_depth": 1,
                "ft_lr": 0.01,
                "weight_decay": 1e-4,
            },
            hp=HP,
        )
    )
    assert probed is not None
    assert (probed.tau, probed.label_smoothing, probed.ft_lr) == (8, 0.1, 0.01)
    assert probed.kind == "head_arch='mlp', reinit_depth=1, weight_decay=0.0001"
    assert probed.snapshots == (HP,)
    assert probed.earlier is None


def test_every_parameter_may_be_missing() -> None:
    probed = probed_of(make_trial(hp={"aie": 0.3}))
    assert probed is not None
    assert (probed.tau, probed.label_smoothing, probed.ft_lr, probed.kind) == (None,) * 3 + ("",)
    assert probed.last == {"aie": 0.3}


@pytest.mark.parametrize(
    ("params", "hp", "tau"),
    [
        ({"tau": 8}, {}, 8),
        ({"tau": 0}, {"epoch": 4}, 0),
        ({"tau_plus_1": 1}, {}, 0),
        ({"tau": 8.0}, {}, 8),
        ({}, {"epoch": 16}, 16),
        ({}, {"epoch": math.nan}, None),
    ],
)
def test_tau_is_a_parameter_or_the_last_epoch(
    params: dict[str, Any], hp: dict[str, Any], tau: int | None
) -> None:
    probed = probed_of(make_trial(params, hp=HP | hp))
    assert probed is not None
    assert probed.tau == tau


def test_a_recipe_wins_over_the_parameters() -> None:
    recipe = Recipe(tau=64, head_arch="mlp", ft_lr=0.02)
    trial = make_trial({"tau_plus_1": 70, "ft_lr": 0.019}, recipe=recipe.to_dict(), hp=HP)
    probed = probed_of(trial)
    assert probed is not None
    assert (probed.tau, probed.ft_lr, probed.label_smoothing) == (64, 0.02, 0.0)
    assert probed.kind == "head_arch='mlp', reinit_depth=0"


def test_snapshots_win_over_hp_and_know_their_first_half() -> None:
    recipe = Recipe(tau=8, ft_lr=0.02)
    stored = [vars(probe_at(epoch, recipe)) for epoch in (0, 1, 2, 4, 8)]
    snapshots = [{k: v for k, v in one.items() if v is not None} for one in stored]
    probed = probed_of(make_trial(hp=HP, snapshots=stored))
    assert probed is not None
    assert probed.snapshots == tuple(snapshots)
    assert probed.earlier == snapshots[3]
    assert probed_of(make_trial(snapshots=snapshots[:2])).earlier is None  # type: ignore[union-attr]


@pytest.mark.parametrize("attrs", [{}, {"hp": {}}, {"snapshots": []}, {"recipe": {"tau": 3}}])
def test_a_trial_that_has_not_probed(attrs: dict[str, Any]) -> None:
    assert probed_of(make_trial({"tau": 3}, **attrs)) is None


def test_numbers_of_any_kind_are_plain_ones_afterwards() -> None:
    probed = probed_of(
        make_trial(hp={"aie": np.float32(0.5), "train_acc": np.int64(1), "head_norm": None})
    )
    assert probed is not None
    assert probed.last == {"aie": 0.5, "train_acc": 1.0}
    assert {type(value) for value in probed.last.values()} == {float}


def test_further_numbers_of_the_user_are_left_alone() -> None:
    probed = probed_of(make_trial(hp=HP | {"note": "mine", "limit": math.inf}))
    assert probed is not None
    assert probed.last == HP


@pytest.mark.parametrize(
    ("params", "attrs", "message"),
    [
        ({}, {"hp": 0.5}, r"'hp' must hold numbers by name, in a dict\. Got 0\.5\. Store vars"),
        ({}, {"hp": {"aie": "0.5"}}, r"'aie' in user attribute 'hp' must be a number\. Got '0\.5'"),
        ({}, {"hp": {"aie": True}}, "'aie' in user attribute 'hp' must be a number. Got True"),
        ({}, {"hp": {"energy": 1.0}}, r"at least one of train_acc, aie.* Got \['energy'\]"),
        ({}, {"snapshots": HP}, r"'snapshots' must be a list of dicts\. Got .* as 'hp'"),
        ({}, {"snapshots": [HP]}, r"each snapshot an 'epoch', ascending .* Got \[nan\]"),
        (
            {},
            {"snapshots": [HP | {"epoch": 4}, HP | {"epoch": 4}]},
            r"ascending from 0 or later\. Got \[4, 4\]",
        ),
        ({}, {"snapshots": [HP | {"epoch": -1}]}, r"ascending from 0 or later\. Got \[-1\]"),
        ({}, {"snapshots": [1]}, r"'snapshots' must hold numbers by name.* Got 1\."),
        ({}, {"hp": HP, "recipe": "best"}, "'recipe' must be a dict of parameters. Got 'best'"),
        ({"tau": "long"}, {"hp": HP}, "Parameter 'tau' must be a number. Got 'long'"),
        ({"tau": 1.5}, {"hp": HP}, r"'tau' must be a whole number >= 0\. Got 1\.5"),
        ({"tau": -1}, {"hp": HP}, r"'tau' must be a whole number >= 0\. Got -1"),
        ({"tau_plus_1": 0}, {"hp": HP}, r"'tau_plus_1' must be a whole number >= 1\. Got 0"),
        ({"label_smoothing": 1.0}, {"hp": HP}, r"'label_smoothing' must be in \[0, 1\)\. Got 1"),
        ({"ft_lr": 0.0}, {"hp": HP}, r"'ft_lr' must be a finite learning rate > 0\. Got 0\.0"),
        ({"ft_lr": "high"}, {"hp": HP}, "Parameter 'ft_lr' must be a number. Got 'high'"),
    ],
)
def test_what_is_wrong_is_told(params: dict[str, Any], attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        probed_of(make_trial(params, **attrs))


def test_it_reads_what_a_study_gives_back() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.suggest_categorical("head_arch", ["linear"])
    trial.set_user_attr("hp", HP)
    for state in (None, TrialState.FAIL):
        if state:
            study.tell(trial, state=state)
        probed = probed_of(study.trials[0])
        assert probed is not None
        assert (probed.number, probed.kind) == (0, "head_arch='linear'")
