from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study
from optuna.trial import Trial, TrialState, create_trial

from energytune.errors import ConfigError
from energytune.optimizer import convergence, energy_sampler
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT
from energytune.optimizer.energy_features import Known
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.samplers import PerTrialSampler, make_sampler

SPACE: dict[str, BaseDistribution] = {
    "tau": IntDistribution(0, 11),
    "head": CategoricalDistribution(("linear", "mlp")),
    "rate": FloatDistribution(0.001, 0.1, log=True),
}
LEVELS: dict[str, BaseDistribution] = {"x": IntDistribution(0, 9), "y": IntDistribution(0, 9)}


def energy(params: Mapping[str, Any]) -> Known:
    """Energy falls with tau, twice as fast for an mlp."""
    speed = 0.3 if params["head"] == "mlp" else 0.15
    left = math.exp(-speed * params["tau"])
    return Known(tuple(sorted(params.items())), (2 * left, 2 * math.log10(params["rate"])))


def accuracy(params: Mapping[str, Any]) -> float:
    """Best where some energy is left, at a middle rate."""
    left, rate = energy(params).features or (0.0, 0.0)
    return 0.9 - 0.1 * (left - 0.8) ** 2 - 0.05 * (rate / 2 + 2) ** 2


def objective(trial: Trial) -> float:
    return accuracy({name: trial._suggest(name, dist) for name, dist in SPACE.items()})


def sampler(seed: int = 0, **changes: Any) -> EnergySampler:
    settings: dict[str, Any] = {"space": SPACE, "n_candidates": 64, **changes}
    return EnergySampler(settings.pop("energy", energy), seed=seed, **settings)


def study_of(
    made: optuna.samplers.BaseSampler, direction: Literal["maximize", "minimize"] = "maximize"
) -> Study:
    return optuna.create_study(direction=direction, sampler=made)


def run(study: Study, n_trials: int, sign: float = 1.0) -> list[dict[str, Any]]:
    study.optimize(lambda trial: sign * objective(trial), n_trials=n_trials)
    return [trial.params for trial in study.trials]


def expectations(study: Study) -> list[float | None]:
    return [trial.system_attrs.get(EXPECTED_IMPROVEMENT) for trial in study.trials]


@pytest.mark.parametrize("hedge_every", [0, 3])
def test_a_seed_gives_the_same_suggestions(hedge_every: int) -> None:
    first = run(study_of(sampler(1, hedge_every=hedge_every)), 12)
    assert run(study_of(sampler(1, hedge_every=hedge_every)), 12) == first
    assert run(study_of(sampler(2, hedge_every=hedge_every)), 12) != first


@pytest.mark.parametrize("hedge_every", [0, 3])
def test_a_continued_study_goes_on_as_one_that_was_not_interrupted(hedge_every: int) -> None:
    def fresh() -> PerTrialSampler:
        return PerTrialSampler(sampler(hedge_every=hedge_every).reseeded, 3)

    whole = run(study_of(fresh()), 12)
    half = study_of(fresh())
    run(half, 7)
    half.sampler = fresh()
    run(half, 5)
    assert [trial.params for trial in half.trials] == whole


def test_by_name_it_is_seeded_by_trial_and_shares_what_was_read() -> None:
    asked: list[int] = []

    def counting(params: Mapping[str, Any]) -> Known:
        asked.append(params["x"])
        return Known(params["x"], (float(params["x"]),))

    space: dict[str, BaseDistribution] = {"x": IntDistribution(0, 3)}
    study = study_of(make_sampler("energy", 0, energy=counting, space=space))
    for _ in range(3):
        study.tell(study.ask(space), 0.5)
    # each suggestion asks of the 4 candidates, of the earlier trials, and of each of these once
    assert len(asked) == (4 + 0 + 0) + (4 + 1 + 1) + (4 + 2 + 1)


def test_the_first_picks_spread_over_the_energies_then_the_model_and_the_hedge_pick() -> None:
    study = study_of(sampler(n_initial=4, hedge_every=3))
    run(study, 13)
    by_model = [value is not None for value in expectations(study)]
    # 6, 9 and 12 are TPE's
    assert by_model == [n >= 4 and n % 3 != 0 for n in range(13)]
    assert all(value is None or value >= 0 for value in expectations(study))
    first = np.array([energy(trial.params).features for trial in study.trials[:4]])
    assert np.all(np.ptp(first, axis=0) > [0.5, 2.0])


@pytest.mark.parametrize(
    ("changes", "n_model"),
    [({}, 8), ({"hedge_every": 0}, 8), ({"hedge_every": 1}, 0), ({"hedge_every": 2}, 4)],
)
def test_it_hedges_as_often_as_told_by_default_never(changes: dict[str, int], n_model: int) -> None:
    study = study_of(sampler(n_initial=2, **changes))
    run(study, 10)
    assert sum(value is not None for value in expectations(study)) == n_model


def test_it_finds_the_best_in_few_trials() -> None:
    study = study_of(sampler())
    run(study, 20)
    assert study.best_value > 0.895


def test_minimising_is_maximising_the_negative() -> None:
    up = run(study_of(sampler(hedge_every=0)), 10)
    down_study = study_of(sampler(hedge_every=0), "minimize")
    assert run(down_study, 10, sign=-1.0) == up
    assert any(expectations(down_study))


def test_running_trials_push_suggestions_apart() -> None:
    study = study_of(sampler(hedge_every=0))
    run(study, 8)
    batch = [study.ask(SPACE).params for _ in range(4)]
    assert len({(params["tau"], params["head"]) for params in batch}) > 1
    alone = study_of(sampler(hedge_every=0))
    run(alone, 8)
    first = alone.ask(SPACE)
    alone.tell(first, state=TrialState.PRUNED)
    assert first.params == batch[0]
    expected = expectations(study)[8:]
    assert expected[0] is not None
    assert expected[-1] is not None
    assert expected[-1] < expected[0]


def test_what_is_the_same_run_is_not_suggested_again() -> None:
    study = study_of(
        sampler(
            space=LEVELS,
            energy=lambda p: Known(max(p["x"], p["y"]), (float(p["x"]),)),
            hedge_every=0,
            n_initial=3,
        )
    )
    for _ in range(10):
        trial = study.ask(LEVELS)
        study.tell(trial, float(trial.params["x"]))
    assert {max(t.params.values()) for t in study.trials} == set(range(10))
    trial = study.ask(LEVELS)  # all is run: TPE goes on
    assert set(trial.params) == {"x", "y"}


def test_pruned_and_failed_trials_are_learned_from() -> None:
    study = study_of(sampler(hedge_every=0, space={"tau": SPACE["tau"]}, n_initial=2, energy=None))
    dist = {"tau": SPACE["tau"]}
    for tau, state, value in (
        (1, TrialState.COMPLETE, 0.5),
        (3, TrialState.COMPLETE, 0.55),
        (9, TrialState.PRUNED, 0.8),
        (2, TrialState.FAIL, None),
    ):
        reports = {} if value is None else {8: value}
        final = value if state == TrialState.COMPLETE else None
        study.add_trial(
            create_trial(
                state=state,
                value=final,
                params={"tau": tau},
                distributions=dist,
                intermediate_values=reports,
            )
        )
    assert study.ask(dist).params["tau"] >= 6


def test_only_failures_do_not_stop_it() -> None:
    study = study_of(sampler(n_initial=2))
    for _ in range(8):
        study.tell(study.ask(SPACE), state=TrialState.FAIL)
    assert expectations(study) == [None] * 8


def test_interrupted_trials_and_repeats_that_were_not_run_teach_nothing() -> None:
    def suggestion(**attrs: Any) -> dict[str, Any]:
        study = study_of(sampler(hedge_every=0))
        run(study, 7)
        far = {"tau": 11, "head": "mlp", "rate": 0.1}
        for _ in range(3):
            is_failed = "reason" in attrs
            study.add_trial(
                create_trial(
                    state=TrialState.FAIL if is_failed else TrialState.COMPLETE,
                    value=None if is_failed else 5.0,
                    params=far,
                    distributions=SPACE,
                    user_attrs=attrs,
                )
            )
        return study.ask(SPACE).params

    assert suggestion(duplicate_of=0) == suggestion(reason="interrupted")
    assert suggestion() != suggestion(duplicate_of=0)


def test_it_works_under_two_threads() -> None:
    study = study_of(sampler())
    study.optimize(objective, n_trials=14, n_jobs=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 14
    assert any(expectations(study))


def test_the_space_is_learned_where_it_is_not_given() -> None:
    study = study_of(sampler(space=None, n_initial=3))
    run(study, 8)
    assert sum(value is not None for value in expectations(study)) == 5  # all but the first 3


def test_a_parameter_of_one_value_is_told_to_the_lookup() -> None:
    def strict(params: Mapping[str, Any]) -> Known:
        return Known((params["x"], params["batch"]), (float(params["x"]),))

    space = {"x": IntDistribution(0, 5), "batch": CategoricalDistribution((32,))}
    study = study_of(sampler(energy=strict, space=None, n_initial=1, hedge_every=0))
    for _ in range(6):
        study.tell(study.ask(space), 0.5)
    assert sorted(trial.params["x"] for trial in study.trials) == list(range(6))


def test_what_is_fixed_from_outside_leaves_the_lookup_unasked() -> None:
    study = study_of(sampler(space=None, n_initial=1, hedge_every=0))
    run(study, 3)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.sampler = optuna.samplers.PartialFixedSampler({"head": "mlp"}, study.sampler)
    run(study, 3)
    assert [trial.params["head"] for trial in study.trials[3:]] == ["mlp"] * 3
    assert None not in expectations(study)[3:]


@pytest.mark.parametrize("hedge_every", [0, 3])
def test_a_reseeded_copy_leaves_the_first_as_it_was(hedge_every: int) -> None:
    first, plain, other_seed = (sampler(seed, hedge_every=hedge_every) for seed in (1, 1, 9))
    other = first.reseeded(2)
    assert other.infer_relative_search_space(study_of(other), None) == SPACE  # type: ignore[arg-type]
    left = run(study_of(first), 8)
    assert left == run(study_of(plain), 8)
    assert run(study_of(other_seed.reseeded(1)), 8) == left


def test_reseeding_makes_copies_differ() -> None:
    study = study_of(sampler(1))
    study.sampler.reseed_rng()
    first = np.array([t["rate"] for t in run(study, 3)])
    assert not np.array_equal(first, [t["rate"] for t in run(study_of(sampler(1)), 3)])


def test_it_pickles() -> None:
    again = pickle.loads(pickle.dumps(sampler(1)))
    assert run(study_of(again), 8) == run(study_of(sampler(1)), 8)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_initial": 0}, "n_initial must be at least 1. Got 0"),
        ({"hedge_every": -1}, "hedge_every must be at least 0. Got -1"),
        ({"n_candidates": 0}, "n_candidates must be at least 1. Got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sampler(**changes)


def test_the_attribute_is_defined_once() -> None:
    assert energy_sampler.EXPECTED_IMPROVEMENT is convergence.EXPECTED_IMPROVEMENT
