from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import Trial, TrialState, create_trial

from energytune.optimizer import energy_sampler
from energytune.optimizer.candidate_pool import Pool
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT
from energytune.optimizer.energy_features import Known
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.outcomes import Outcome
from energytune.optimizer.picks import RUNNING_A_PICK, Ahead, most_promising, n_at_once
from energytune.optimizer.samplers import PerTrialSampler

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
MANY = 4 * RUNNING_A_PICK


def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that grows with each look at a study, by the picks that it gives."""
    asked: list[int] = []
    original = energy_sampler.n_at_once

    def counted(trials: Any) -> int:
        asked.append(original(trials))
        return asked[-1]

    monkeypatch.setattr(energy_sampler, "n_at_once", counted)
    return asked


def study_of(seed: int = 0) -> Study:
    def energy(params: Mapping[str, Any]) -> Known:
        return Known(params["x"], (2.0 * params["x"],))

    made = EnergySampler(energy, space=SPACE, seed=seed, n_candidates=64)
    return optuna.create_study(direction="maximize", sampler=PerTrialSampler(made.reseeded, seed))


def ask(study: Study) -> Trial:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return trial


def tell(study: Study, trial: Trial) -> None:
    study.tell(trial, 0.9 - (trial.params["x"] - 0.3) ** 2)


def test_few_trials_at_once_are_looked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, study = looks(monkeypatch), study_of()
    running = [ask(study) for _ in range(2 * RUNNING_A_PICK - 2)]
    for trial in running[:5]:
        tell(study, trial)
    ask(study)
    assert asked == [1] * (len(running) + 1)


@pytest.mark.parametrize("n_told", [0, 20])
def test_many_at_once_are_picked_from_one_look(
    n_told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of()
    for _ in range(n_told):
        tell(study, ask(study))
    running = [ask(study) for _ in range(MANY)]
    asked = looks(monkeypatch)
    more = [ask(study) for _ in range(MANY)]
    assert sum(asked[:-1]) < len(more) <= sum(asked) + MANY // RUNNING_A_PICK
    assert min(asked) >= MANY // RUNNING_A_PICK
    values = [trial.params["x"] for trial in (*running, *more)]
    assert len(set(values)) == len(values)
    stored = [t.system_attrs.get(EXPECTED_IMPROVEMENT) for t in study.trials[n_told + MANY :]]
    assert all((value is not None) == (n_told > 0) for value in stored)


def test_paused_trials_do_not_run() -> None:
    def trial(state: TrialState, **attrs: Any) -> Any:
        return create_trial(
            state=state, value=1.0 if state == TrialState.COMPLETE else None, user_attrs=attrs
        )

    running = [trial(TrialState.RUNNING)] * MANY
    assert n_at_once(running) == 4
    ended = [trial(TrialState.COMPLETE)] * MANY
    assert n_at_once([trial(TrialState.RUNNING, paused=4)] * MANY + ended) == 1
    assert n_at_once([]) == 1


def test_picks_ahead_are_the_studys_own_and_stay_in_their_process() -> None:
    one, two, names = study_of(), study_of(), frozenset({"x"})
    ahead = Ahead()
    ahead.put(one, names, [({"x": 0.1}, None), ({"x": 0.2}, 0.5)])
    assert ahead.take(two, names) is None
    assert ahead.take(one, frozenset({"y"})) is None
    copied = pickle.loads(pickle.dumps(ahead))
    assert copied.take(one, names) is None
    assert [ahead.take(one, names) for _ in range(3)] == [
        ({"x": 0.1}, None),
        ({"x": 0.2}, 0.5),
        None,
    ]


def pool_of(seed: int, n_candidates: int, n_seen: int) -> tuple[Pool, list[Outcome]]:
    rng = np.random.default_rng(seed)
    points, seen = rng.random((n_candidates, 3)), rng.random((n_seen, 3))
    trial = create_trial(state=TrialState.COMPLETE, value=0.0)
    told = [Outcome(trial, float(0.9 - (x - 0.3) ** 2), 0.0) for x in seen[:, 0]]
    return Pool([{"x": i} for i in range(n_candidates)], points, seen, 0), told


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 6), n_seen=st.integers(2, 12))
def test_several_picks_are_those_of_one_after_the_other_that_runs(
    seed: int, n: int, n_seen: int
) -> None:
    pool, told = pool_of(seed, 12, n_seen)
    picks = most_promising(pool, told, n)
    left, begun, running = list(range(12)), pool.seen, list(told)
    for place, expected in picks:
        rest = Pool([pool.params[i] for i in left], pool.points[left], begun, 0)
        ((_, best),) = most_promising(rest, running)
        # Of two that promise the same, rounding decides which.
        assert expected == pytest.approx(best, rel=1e-4, abs=1e-9)
        left.remove(place)
        begun = np.vstack([begun, pool.points[place]])
        running.append(Outcome(told[0].trial, None, 0.5))


def test_there_are_no_more_picks_than_candidates() -> None:
    pool, told = pool_of(0, 3, 4)
    assert sorted(place for place, _ in most_promising(pool, told, 9)) == [0, 1, 2]
