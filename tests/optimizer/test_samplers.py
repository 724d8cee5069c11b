from __future__ import annotations

import subprocess
import sys

import optuna
import pytest

from energytune.errors import UnknownNameError
from energytune.optimizer import make_sampler
from energytune.optimizer.samplers import SAMPLERS
from energytune.trial import run_inline
from tests.optimizer.fakes import make_run_job, make_source, memory_study

SUGGESTIONS = """
from energytune.trial import run_inline
from tests.optimizer.fakes import *
source = make_source(memory_study(seed=3), n_trials=14, seed=3)
run_inline(source, make_run_job())
print([record.job.recipe.key() for record in source.records])
"""


def suggestions(name: str, seed: int, n_trials: int) -> list[str]:
    source = make_source(memory_study(seed=seed, name=name), n_trials=n_trials)
    run_inline(source, make_run_job())
    return [record.job.recipe.key() for record in source.records]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_gives_the_same_suggestions(name: str) -> None:
    n_trials = 8 if name == "energy" else 13  # their models begin at 6, and at 10
    first = suggestions(name, seed=1, n_trials=n_trials)
    assert suggestions(name, seed=1, n_trials=n_trials) == first
    assert suggestions(name, seed=2, n_trials=n_trials)[2:] != first[2:]
    assert len(set(first)) == n_trials


@pytest.mark.integration
def test_two_processes_suggest_the_same() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", SUGGESTIONS], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert told[0].count("'") == 28


def test_every_trial_has_its_own_seed() -> None:
    study = optuna.create_study(sampler=make_sampler("random", 0))
    values = [study.ask().suggest_float("x", 0, 1) for _ in range(20)]
    assert len(set(values)) == 20


def test_a_suggestion_depends_on_the_trial_number_not_on_the_process_before() -> None:
    whole = optuna.create_study(sampler=make_sampler("random", 0))
    values = [whole.ask().suggest_float("x", 0, 1) for _ in range(5)]
    half = optuna.create_study(sampler=make_sampler("random", 0))
    again = [half.ask().suggest_float("x", 0, 1) for _ in range(2)]
    half.sampler = make_sampler("random", 0)
    again += [half.ask().suggest_float("x", 0, 1) for _ in range(3)]
    assert again == values


def test_tpe_is_pinned() -> None:
    tpe = SAMPLERS["tpe"](0)
    assert isinstance(tpe, optuna.samplers.TPESampler)
    assert tpe._multivariate is True
    assert tpe._constant_liar is True


def test_unknown_sampler_shows_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"sampler 'tpee'.*'tpe'"):
        make_sampler("tpee", 0)


def test_the_energy_sampler_knows_a_given_space_from_the_first_trial_on() -> None:
    space = {"x": optuna.distributions.IntDistribution(0, 6)}
    study = optuna.create_study(sampler=make_sampler("energy", 0, space=space))
    picked = []
    for _ in range(3):
        trial = study.ask(space)
        study.tell(trial, 0.5)
        picked.append(trial.params["x"])
    assert picked[0] == 3  # the middle stands for all
    assert len(set(picked)) == 3
