from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from energytune.config import SearchConfig, load_space, search_config
from energytune.config.settings import CONVERGING_SAMPLERS
from energytune.errors import ConfigError

SPACE = load_space("default")


def settings(**changes: Any) -> SearchConfig:
    return search_config(dataset="digits", space=SPACE, out=Path("run"), **changes)


@pytest.mark.parametrize(
    ("changes", "n_trials"),
    [
        ({}, 30),
        ({"n_trials": None}, 30),
        ({"n_trials": 7}, 7),
        ({"until": "trials"}, 30),
        ({"until": "converged", "sampler": "energy"}, 200),
        ({"until": "converged", "sampler": "energy", "n_trials": None}, 200),
        ({"until": "converged", "sampler": "energy", "n_trials": 50}, 50),
    ],
)
def test_without_a_number_of_trials_the_cap_is_that_of_the_end(
    changes: dict[str, Any], n_trials: int
) -> None:
    assert settings(**changes).n_trials == n_trials


def test_the_default_sampler_reads_the_energy_map() -> None:
    assert settings().sampler == "energy"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_to_converge_the_sampler_must_say_what_it_expects(sampler: str) -> None:
    assert settings(sampler=sampler).sampler == sampler
    with pytest.raises(ConfigError, match=f"until = 'converged': needs .*'energy'.*{sampler}"):
        settings(sampler=sampler, until="converged")


def test_to_converge_the_baselines_are_needed() -> None:
    with pytest.raises(ConfigError, match="until = 'converged': needs the baselines"):
        settings(sampler="energy", until="converged", baseline_taus=())
    assert settings(sampler="energy", until="converged", baseline_taus=(0,)).baseline_taus == (0,)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_warm_start_needs_the_sampler_that_reads_the_map(sampler: str) -> None:
    with pytest.raises(ConfigError, match=f"warm_start = True: needs .*'energy'.*{sampler}"):
        settings(sampler=sampler, warm_start=True)
    assert settings(sampler="energy", warm_start=True).warm_start
    assert not settings(sampler="energy").warm_start


def test_every_sampler_that_converges_is_one_of_the_settings() -> None:
    for sampler in CONVERGING_SAMPLERS:
        assert settings(sampler=sampler, until="converged").sampler == sampler


def test_all_wrong_limits_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(n_trials=0, ft_epochs_budget=0, time_budget_s=0, until="convergd")
    text = str(caught.value)
    assert "4 settings are wrong" in text
    assert "n_trials = 0: must be >= 1" in text
    assert "ft_epochs_budget = 0: must be >= 1" in text
    assert "did you mean 'converged'?" in text


def test_a_change_of_settings_keeps_the_number_of_trials() -> None:
    changed = settings(n_trials=7).model_copy(update={"seed": 3})
    assert SearchConfig.model_validate(changed.model_dump()).n_trials == 7


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_disk": "5 apples"}, r"max_disk = '5 apples': it has the unknown unit"),
        ({"max_disk": "20"}, r"max_disk = '20': it must have a unit"),
        ({"gpu_hours": 0.0}, r"gpu_hours = 0\.0: must be > 0"),
    ],
)
def test_a_budget_that_is_none_is_refused(limit: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**limit)


def test_time_and_gpu_hours_bound_the_time() -> None:
    assert not settings().is_timed
    assert settings(time_budget_s=9.0).is_timed
    assert settings(gpu_hours=1.0).is_timed
