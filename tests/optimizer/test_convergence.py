from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from energytune.errors import ConfigError
from energytune.optimizer import StudyConvergence, open_study
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT, converged, decisions
from energytune.trial import Job, run_inline
from energytune.trial.builder import INTERRUPTED
from tests.optimizer.fakes import NO_PRUNER, make_run_job, make_source, make_space


class Hopeful(RandomSampler):
    """Expects what a table says of the trial's number; of a trial that is not there nothing."""

    def __init__(self, table: dict[int, float]) -> None:
        super().__init__(seed=0)
        self.table = table

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if trial.number in self.table:
            study._storage.set_trial_system_attr(
                trial._trial_id, EXPECTED_IMPROVEMENT, self.table[trial.number]
            )


def hopeful_study(table: dict[int, float]) -> Study:
    return optuna.create_study(direction="maximize", sampler=Hopeful(table), pruner=NO_PRUNER)


@pytest.mark.parametrize(
    ("improvements", "deviation", "verdict"),
    [
        ([], 0.01, False),
        ([0.001, 0.001], 0.01, False),
        ([0.001, 0.001, 0.001], 0.01, True),
        ([0.001, 0.001, 0.005], 0.01, False),  # the half itself is not below it
        ([0.9, 0.0049, 0.0049, 0.0049], 0.01, True),
        ([0.001, 0.001, 0.001, 0.9], 0.01, False),
        ([0.001, 0.9, 0.001, 0.001], 0.01, False),
        ([0.0, 0.0, 0.0], 0.0, False),
        ([-0.1, -0.1, -0.1], 0.0, True),
        ([0.001, math.nan, 0.001], 0.01, False),
    ],
)
def test_three_decisions_below_half_a_deviation(
    improvements: list[float], deviation: float, verdict: bool
) -> None:
    assert converged(improvements, deviation) is verdict


@given(
    st.lists(st.floats(0, 1), max_size=8),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_it_is_the_largest_of_the_last_that_counts(
    improvements: Sequence[float], deviation: float, n_last: int
) -> None:
    last = list(improvements)[len(improvements) - n_last :] if n_last <= len(improvements) else []
    assert converged(improvements, deviation, n_last) == (bool(last) and max(last) < deviation / 2)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1), st.floats(0, 1))
def test_more_noise_never_takes_a_verdict_back(
    improvements: Sequence[float], deviation: float, more: float
) -> None:
    if converged(improvements, deviation):
        assert converged(improvements, deviation + more)


@pytest.mark.parametrize("deviation", [-0.1, math.nan, math.inf])
def test_a_deviation_is_finite_and_not_negative(deviation: float) -> None:
    with pytest.raises(ConfigError, match="deviation must be finite and >= 0"):
        converged([0.1], deviation)


def test_one_decision_is_the_least() -> None:
    with pytest.raises(ConfigError, match=r"n_last must be at least 1\. Got 0"):
        converged([0.1], 0.1, n_last=0)


def test_enqueued_trials_and_unmodelled_picks_are_no_decisions() -> None:
    table = {0: 0.9, 1: 0.9, 3: 0.3, 5: 0.5, 6: 0.6}  # 0 and 1 are the baselines
    study = hopeful_study(table)
    run_inline(make_source(study, n_trials=7), make_run_job(n_epochs=3))
    assert decisions(study, 9) == [0.3, 0.5, 0.6]
    assert decisions(study, 2) == [0.5, 0.6]


def test_repeats_that_were_not_run_are_no_decisions() -> None:
    space = make_space(tau={"low": 0, "high": 2}, head_arch="linear", reinit_depth=0, ft_lr=0.01)
    study = hopeful_study({number: number / 100 for number in range(99)})
    run_inline(
        make_source(study, space, n_trials=6, baseline_taus=(0, 2)), make_run_job(n_epochs=3)
    )
    run = [t for t in study.trials if "duplicate_of" not in t.user_attrs]
    assert len(run) < len(study.trials)
    assert decisions(study, 99) == [t.number / 100 for t in run[2:]]


def test_an_interrupted_decision_is_one_once_it_is_run_again() -> None:
    table = {2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5, 6: 0.6}
    study = hopeful_study(table)
    source = make_source(study, n_trials=6)
    jobs = [source.next_job() for _ in range(4)]
    for job in jobs:
        assert isinstance(job, Job)
        source.on_end(job.id, INTERRUPTED if job.number == 3 else "ValueError: no")
    assert decisions(study, 9) == [0.2]
    for _ in range(2):  # once more interrupted
        again = make_source(study, n_trials=6)
        job = again.next_job()
        assert isinstance(job, Job)
        assert decisions(study, 9) == [0.2, 0.3]
        again.on_end(job.id, INTERRUPTED)
        assert decisions(study, 9) == [0.2]


def test_a_search_ends_converged_says_so_and_stays_converged(tmp_path: Path) -> None:
    table = {2: 0.1, 3: 0.004, 4: 0.003, 5: 0.001, 6: 0.1, 7: 0.1}
    noise: list[float | None] = [None]

    def start() -> tuple[list[int], str]:
        study = open_study(
            f"journal://{tmp_path}/s", "search", sampler=Hopeful(table), pruner=NO_PRUNER
        )
        limit = StudyConvergence(study, lambda: noise[0])
        source = make_source(study, limits=[limit])
        ran: list[Job] = []
        run_inline(source, make_run_job(3, ran))
        return [job.number for job in ran], source.end_reason

    noise[0] = 0.01
    told = (
        "converged: expected improvement 0.0040, 0.0030, 0.0010 below 0.0050, half the seed "
        "deviation"
    )
    assert start() == ([0, 1, 2, 3, 4, 5], told)
    assert start() == ([], told)
    noise[0] = None  # without a measured deviation nothing converges
    more, reason = start()
    assert (len(more), reason) == (6, "12 trials")
