from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.errors import ConfigError
from energytune.optimizer.energy_features import Known
from energytune.optimizer.gate import LearnedGate
from energytune.optimizer.probed import Probed, probed_of
from energytune.optimizer.pruner import EnergyPruner, prune_reason

SPACE: dict[str, BaseDistribution] = {
    "tau": IntDistribution(0, 20),
    "ft_lr": FloatDistribution(0.001, 0.1, log=True),
}
GOOD, BAD = {"tau": 9, "ft_lr": 0.01}, {"tau": 20, "ft_lr": 0.001}
HP = {"train_acc": 0.9, "aie": 0.3, "head_norm": 2.0, "valid_loss": 0.5}


def energy(params: Mapping[str, Any]) -> Known:
    key = tuple(sorted(params.items()))
    return Known(key, (2 * np.exp(-params["tau"] / 6), 2 * np.log10(params["ft_lr"])))


def unprobed(params: Mapping[str, Any]) -> Known:
    return Known(tuple(sorted(params.items())))


def accuracy(params: Mapping[str, Any], rng: np.random.Generator) -> float:
    far = (params["tau"] - 9) ** 2 / 100 + (np.log10(params["ft_lr"]) + 2) ** 2
    return float(0.9 - 0.1 * far + 0.003 * rng.normal())


def study_of(
    n_trials: int = 30, *, state: TrialState = TrialState.COMPLETE, sign: float = 1.0
) -> Study:
    direction = "maximize" if sign > 0 else "minimize"
    sampled = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study, rng = optuna.create_study(direction=direction), np.random.default_rng(0)
    for _ in range(n_trials):
        params = sampled.ask(SPACE).params
        value = sign * accuracy(params, rng)
        study.add_trial(
            create_trial(
                state=state,
                value=value if state == TrialState.COMPLETE else None,
                params=params,
                distributions=SPACE,
                intermediate_values={8: value},
            )
        )
    return study


def begin(study: Study, params: dict[str, Any]) -> tuple[FrozenTrial, Probed]:
    study.enqueue_trial(params)
    trial = study.ask(SPACE)
    trial.set_user_attr("hp", HP)
    frozen = study.get_trials(deepcopy=False)[trial.number]
    probed = probed_of(frozen)
    assert probed is not None
    return frozen, probed


def reason(study: Study, params: dict[str, Any], **settings: Any) -> str | None:
    gate = LearnedGate(settings.pop("energy", energy), **settings)
    return gate.reason(study, *begin(study, params))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_hopeless_finetune_is_not_run_and_a_good_one_is(sign: float) -> None:
    study = study_of(sign=sign)
    told = reason(study, BAD)
    assert told is not None
    assert told.startswith("gate: chance 0.0")
    best = re.search(r"to beat the best (-?[0-9.]+), below 0.02;", told)
    assert best is not None
    assert float(best[1]) == pytest.approx(sign * 0.9, abs=0.01)
    assert "by 30 trials" in told
    assert reason(study, GOOD) is None


def test_the_threshold_is_a_probability() -> None:
    assert reason(study_of(), GOOD, threshold=0.999) is not None
    assert reason(study_of(), BAD, threshold=1e-300) is None


def test_there_is_no_opinion_of_few_trials_nor_without_energy() -> None:
    assert reason(study_of(19), BAD) is None
    assert reason(study_of(20), BAD) is not None
    assert reason(study_of(30), BAD, n_least=31) is None
    assert reason(study_of(), BAD, energy=unprobed) is None
    assert reason(study_of(state=TrialState.FAIL), BAD) is None


def test_pruned_trials_count_with_what_they_would_have_come_to() -> None:
    assert reason(study_of(state=TrialState.PRUNED), BAD) is not None


def test_trials_of_another_space_are_no_evidence() -> None:
    study = study_of()
    trial = study.ask(SPACE | {"own": FloatDistribution(0, 1)})
    trial.set_user_attr("hp", HP)
    frozen = study.get_trials(deepcopy=False)[trial.number]
    probed = probed_of(frozen)
    assert probed is not None
    assert LearnedGate(energy).reason(study, frozen, probed) is None


def test_a_trial_without_parameters_passes() -> None:
    study = study_of()
    trial = study.ask()
    frozen = study.get_trials(deepcopy=False)[trial.number]
    _, probed = begin(study, GOOD)
    assert LearnedGate(energy).reason(study, frozen, probed) is None


def test_the_same_study_gives_the_same_reason_whoever_is_asked() -> None:
    study, gate = study_of(), LearnedGate(energy)
    trial, probed = begin(study, BAD)
    first = gate.reason(study, trial, probed)
    assert gate.reason(study, trial, probed) == first
    assert LearnedGate(energy).reason(study, trial, probed) == first


def test_the_pruner_asks_it_before_finetuning_and_stores_what_it_says() -> None:
    study = study_of()
    study.pruner = EnergyPruner(100, gate=LearnedGate(energy))
    for params, pruned in ((BAD, True), (GOOD, False)):
        study.enqueue_trial(params)
        trial = study.ask(SPACE)
        trial.set_user_attr("hp", HP)
        assert trial.should_prune() is pruned
        told = prune_reason(study.get_trials(deepcopy=False)[trial.number]) or ""
        assert told.startswith("gate: ") is pruned


def test_baselines_pass() -> None:
    study = study_of()
    study.pruner = EnergyPruner(100, gate=LearnedGate(energy))
    study.enqueue_trial(BAD, user_attrs={"role": "baseline_tau_max"})
    trial = study.ask(SPACE)
    trial.set_user_attr("hp", HP)
    assert not trial.should_prune()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\). Got 0.0"),
        ({"threshold": 1.0}, r"threshold must be in \(0, 1\). Got 1.0"),
        ({"n_least": 1}, "n_least must be at least 2. Got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        LearnedGate(energy, **settings)
