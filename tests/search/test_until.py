"""A search that ends by itself, on the real stack with a sampler that expects what it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from energytune.config import SearchConfig
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT
from energytune.search import prepare
from energytune.search.run import run_search
from tests.search.counter import Counter

pytestmark = pytest.mark.integration


class Hopeless(RandomSampler):
    """Expects nothing any more."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        study._storage.set_trial_system_attr(trial._trial_id, EXPECTED_IMPROVEMENT, 0.0)


def test_a_search_converges_its_repeats_are_confirmed_and_it_stays_converged(
    ray_session: None,
    make_config: Callable[..., SearchConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare, "make_sampler", lambda name, seed, **_: Hopeless(seed))
    config = make_config(
        until="converged", sampler="energy", n_trials=30, n_confirm_seeds=3, concurrency=1
    )
    counter = Counter()
    result = run_search(config, observers=[counter])
    repeats = ["c000-s1000", "c001-s1000", "c000-s1001", "c001-s1001"]
    assert counter.started[:9] == ["t000", "t001", *repeats, "t002", "t003", "t004"]
    assert len(counter.started) == len(set(counter.started))  # nothing is run twice
    assert result.end_reason.startswith("converged: expected improvement 0.0000, 0.0000, 0.0000")
    assert len(result.records) == 5
    assert set(repeats) <= {record.job.id for record in result.confirmations}
    assert result.study.user_attrs["end_reason"] == result.end_reason

    again = Counter()
    continued = run_search(config, observers=[again])
    assert again.started == []
    assert continued.end_reason == result.end_reason


def test_a_budget_of_finetuning_epochs_ends_a_search(
    ray_session: None, make_config: Callable[..., SearchConfig]
) -> None:
    config = make_config(ft_epochs_budget=24, n_trials=30, n_confirm_seeds=1, concurrency=1)
    result = run_search(config)
    assert result.end_reason == "24 finetuning epochs"
    assert [len(record.epochs) for record in result.records] == [12, 12]
