from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.optimizer import hedge
from energytune.optimizer.hedge import Hedge

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def study_of(n_trials: int, value: Callable[[int], float] = lambda n: 0.1 * (n % 7)) -> Study:
    study = optuna.create_study(direction="maximize")
    for n in range(n_trials):
        params = {"x": (0.37 * n) % 1, "y": (0.61 * n) % 1}
        study.add_trial(create_trial(params=params, distributions=SPACE, value=value(n)))
    return study


def begin(study: Study) -> FrozenTrial:
    number = study.ask().number
    return study.get_trials(deepcopy=False)[number]


def tpe() -> TPESampler:
    return TPESampler(seed=3, multivariate=True, constant_liar=True, n_startup_trials=1)


def test_with_few_trials_it_is_tpe() -> None:
    study = study_of(30)
    begun, trial = study.get_trials()[:30], begin(study)
    assert Hedge(3).pick(study, trial, SPACE, begun) == tpe().sample_relative(study, trial, SPACE)


def test_without_a_trial_it_has_no_opinion() -> None:
    study = study_of(0)
    assert Hedge(3).pick(study, begin(study), SPACE, []) == {}


def test_of_many_trials_tpe_is_shown_the_best_and_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hedge, "N_BEST", 5)
    monkeypatch.setattr(hedge, "N_LATEST", 20)
    study = study_of(60, value=lambda n: -float(n))  # the first ones are the best
    begun, trial = study.get_trials()[:60], begin(study)
    few = study_of(0)
    few.add_trials([*begun[:5], *begun[40:]])
    expected = tpe().sample_relative(few, begin(few), SPACE)
    assert Hedge(3).pick(study, trial, SPACE, begun) == expected
    assert Hedge(3).pick(study, trial, SPACE, begun[:25]) != expected
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 60


def test_others_are_told_what_a_running_trial_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hedge, "N_BEST", 5)
    monkeypatch.setattr(hedge, "N_LATEST", 20)
    study = study_of(60)
    trial = begin(study)
    Hedge(3).pick(study, trial, SPACE, study.get_trials()[:60])
    (told,) = study.get_trials()[60].system_attrs
    assert told.startswith("tpe:relative_params")
