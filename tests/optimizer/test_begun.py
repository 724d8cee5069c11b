from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.optimizer.begun import (
    N_BEST,
    N_LATEST,
    BegunTrials,
    best_and_latest,
    told_and_running,
)
from energytune.optimizer.energy_features import Known

SPACE: dict[str, BaseDistribution] = {
    "x": IntDistribution(0, 9),
    "head": CategoricalDistribution(("linear", "mlp")),
}
PARAMS: dict[str, Any] = {"x": 3, "head": "mlp"}


class Counting:
    """A lookup that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def __call__(self, params: Mapping[str, Any]) -> Known:
        self.asked[params["x"]] += 1
        return Known((params["x"], params["head"]))


def add(study: Study, state: TrialState = TrialState.COMPLETE, **changes: Any) -> None:
    settings: dict[str, Any] = {"params": PARAMS, "distributions": SPACE, **changes}
    settings.setdefault("value", 0.5 if state == TrialState.COMPLETE else None)
    study.add_trial(create_trial(state=state, **settings))


@pytest.mark.parametrize(
    ("state", "changes", "learned", "used"),
    [
        (TrialState.COMPLETE, {}, True, True),
        (TrialState.RUNNING, {}, True, True),
        (TrialState.PRUNED, {}, True, True),
        (TrialState.FAIL, {}, True, True),
        (TrialState.WAITING, {}, False, False),
        (TrialState.FAIL, {"user_attrs": {"reason": "interrupted"}}, False, False),
        (TrialState.COMPLETE, {"user_attrs": {"duplicate_of": 0}}, False, True),
        (TrialState.COMPLETE, {"params": {}, "distributions": {}}, False, False),
        (
            TrialState.COMPLETE,
            {"params": {"x": 3}, "distributions": {"x": SPACE["x"]}},
            False,
            False,
        ),
        (
            TrialState.COMPLETE,
            {"params": PARAMS | {"x": 10}, "distributions": SPACE | {"x": IntDistribution(0, 99)}},
            False,
            False,
        ),
        (
            TrialState.COMPLETE,
            {
                "params": PARAMS | {"head": "conv"},
                "distributions": SPACE | {"head": CategoricalDistribution(("conv",))},
            },
            False,
            False,
        ),
    ],
)
def test_who_is_learned_from_and_what_was_run(
    state: TrialState, changes: dict[str, Any], learned: bool, used: bool
) -> None:
    study = optuna.create_study()
    add(study, state, **changes)
    begun = BegunTrials().read(study, SPACE, Counting())
    assert ([t.number for t in begun.trials] == [0]) is learned
    assert (begun.keys == {(3, "mlp")}) is used


def test_parameters_are_looked_up_once_in_one_space_by_one_lookup() -> None:
    study, lookup, reader = optuna.create_study(), Counting(), BegunTrials()
    add(study)
    for _ in range(3):
        add(study, params=PARAMS | {"x": len(study.trials)})
        reader.read(study, dict(SPACE), lookup)
    assert lookup.asked == {1: 1, 2: 1, 3: 1}
    reader.read(study, {"x": SPACE["x"], "head": SPACE["head"]}, lookup)
    assert lookup.asked.total() == 3
    narrow = SPACE | {"x": IntDistribution(0, 2)}
    assert [t.params["x"] for t in reader.read(study, narrow, lookup).trials] == [1, 2]
    assert lookup.asked.total() == 5
    other = Counting()
    reader.read(study, narrow, other)
    assert other.asked.total() == 2


def test_what_was_remembered_of_one_study_holds_for_another() -> None:
    reader, lookup = BegunTrials(), Counting()
    for x in (1, 2):
        study = optuna.create_study()
        add(study, params=PARAMS | {"x": x})
        assert reader.read(study, SPACE, lookup).keys == {(x, "mlp")}


def test_a_running_trial_is_read_again_once_it_has_all_parameters() -> None:
    study, reader, lookup = optuna.create_study(), BegunTrials(), Counting()
    trial = study.ask()
    trial.suggest_int("x", 0, 9)
    assert reader.read(study, SPACE, lookup).trials == []
    trial.suggest_categorical("head", ("linear", "mlp"))
    assert len(reader.read(study, SPACE, lookup).trials) == 1


def numbered(values: list[FrozenTrial]) -> list[FrozenTrial]:
    for number, trial in enumerate(values):
        trial.number = number
    return values


def complete(value: float) -> FrozenTrial:
    return create_trial(
        params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}, value=value
    )


def stopped(step: int, value: float, state: TrialState = TrialState.PRUNED) -> FrozenTrial:
    return create_trial(state=state, intermediate_values={step: value})


def test_few_trials_are_all_taken() -> None:
    trials = numbered([complete(0.5)] * (N_BEST + N_LATEST))
    assert best_and_latest(trials, StudyDirection.MAXIMIZE) == trials


@pytest.mark.parametrize("direction", [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])
def test_of_many_the_best_and_the_latest_are_taken_by_number(direction: StudyDirection) -> None:
    n_trials = 3 * (N_BEST + N_LATEST)
    trials = numbered([complete(float((i * 37) % n_trials)) for i in range(n_trials)])
    kept = best_and_latest(trials, direction)
    numbers = [trial.number for trial in kept]
    assert numbers == sorted(numbers)
    assert set(range(n_trials - N_LATEST, n_trials)) <= set(numbers)
    upwards = direction == StudyDirection.MAXIMIZE
    ranked = sorted(trials, key=lambda t: t.value or 0.0, reverse=upwards)
    assert {trial.number for trial in ranked[:N_BEST]} <= set(numbers)
    assert len(kept) <= N_BEST + N_LATEST


def test_a_complete_trial_is_surer_than_one_that_has_come_less_far() -> None:
    ranked = [
        *(complete(value) for value in (0.2, 0.1)),
        stopped(24, 0.3, TrialState.RUNNING),
        stopped(24, 0.2),
        stopped(8, 0.9),
        stopped(8, math.nan),
        stopped(24, 0.9, TrialState.FAIL),
        complete(-math.inf),
    ]
    silent = [create_trial(state=TrialState.PRUNED) for _ in range(N_LATEST)]
    trials = numbered([*ranked, *(complete(0.5) for _ in range(N_BEST - 4)), *silent])
    kept = {trial.number for trial in best_and_latest(trials, StudyDirection.MAXIMIZE)}
    assert set(range(8)) - kept == {4, 5, 6, 7}


def test_of_very_many_running_trials_none_takes_the_place_of_one_that_has_told() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(200):
        add(study, value=number / 1000)
    for _ in range(150):
        add(study, TrialState.RUNNING)
    add(study, TrialState.RUNNING, intermediate_values={3: 0.7})
    trials = study.get_trials(deepcopy=False)
    kept = told_and_running(trials, StudyDirection.MAXIMIZE)
    assert [t.number for t in kept] == sorted({t.number for t in kept})
    assert {t.number for t in kept} >= set(range(200, 351))
    told = [t for t in kept if t.state == TrialState.COMPLETE or t.intermediate_values]
    assert told == best_and_latest([*trials[:200], trials[350]], StudyDirection.MAXIMIZE)
    assert len(told) < 200
