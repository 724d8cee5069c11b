"""A search that was interrupted goes on as if it had not been."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from energytune.errors import OutputError
from energytune.optimizer import records_from_study
from energytune.trial import Finished, Idle, Job, run_inline
from energytune.trial.builder import INTERRUPTED
from tests.optimizer.fakes import (
    journal_study,
    make_run_job,
    make_source,
    make_space,
    memory_study,
    probe_done,
)


def keys(source: object) -> list[str]:
    return [record.job.recipe.key() for record in source.records]  # type: ignore[attr-defined]


def test_the_same_search_started_twice_goes_on(tmp_path: Path) -> None:
    whole = make_source(journal_study(tmp_path / "a"), n_trials=14)
    run_inline(whole, make_run_job())

    first = make_source(journal_study(tmp_path / "b"), n_trials=6)
    run_inline(first, make_run_job())
    ran: list[Job] = []
    second = make_source(journal_study(tmp_path / "b"), n_trials=14)
    assert second.records == first.records
    run_inline(second, make_run_job(ran=ran))
    assert len(ran) == 8
    assert keys(second) == keys(whole)
    assert [r.state for r in second.records] == [r.state for r in whole.records]

    third = make_source(journal_study(tmp_path / "b"), n_trials=14)
    assert third.next_job() is Idle.DONE
    assert third.records == second.records
    assert third.best() == second.best()


@pytest.mark.parametrize("n_before", [0, 1, 2, 4])
def test_trials_of_a_killed_search_go_on_under_their_numbers(tmp_path: Path, n_before: int) -> None:
    study = journal_study(tmp_path / "s")
    first = make_source(study, n_trials=8)
    for _ in range(n_before):
        job = first.next_job()
        assert isinstance(job, Job)
        for event in make_run_job()(job):
            if first.on_events(job.id, [event]):
                break
        first.on_end(job.id)
    lost = [first.next_job(), first.next_job()]
    assert isinstance(lost[0], Job)
    assert isinstance(lost[1], Job)
    first.on_events(lost[0].id, [probe_done(lost[0].recipe)])

    ran: list[Job] = []
    again = journal_study(tmp_path / "s")
    second = make_source(again, n_trials=8)
    assert [t.number for t in again.trials if t.state == TrialState.RUNNING] == [
        job.number for job in lost
    ]
    run_inline(second, make_run_job(ran=ran))
    assert ran[:2] == lost
    assert len(ran) == 8 - n_before
    assert len(second.records) == 8
    assert [r.job.role for r in second.records][:2] == ["baseline_tau_0", "baseline_tau_max"]
    assert records_from_study(again, everything=True) == second.records


def test_being_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    roles = []
    for _ in range(4):
        job = make_source(journal_study(tmp_path / "s"), n_trials=4).next_job()
        assert isinstance(job, Job)
        roles.append(job.role)
    assert roles == ["baseline_tau_0"] * 4
    source = make_source(journal_study(tmp_path / "s"), n_trials=4)
    run_inline(source, make_run_job())
    assert len(source.records) == 4
    assert len(set(keys(source))) == 4


def test_the_queue_alone_survives(tmp_path: Path) -> None:
    """Killed after the baselines were enqueued, before anything was asked."""
    make_source(journal_study(tmp_path / "s"))
    source = make_source(journal_study(tmp_path / "s"), n_trials=3)
    run_inline(source, make_run_job())
    roles = [record.job.role for record in source.records]
    assert roles == ["baseline_tau_0", "baseline_tau_max", "search"]


def test_a_trial_that_had_finished_is_not_run_again(tmp_path: Path) -> None:
    study = journal_study(tmp_path / "s")
    source = make_source(study)
    job = source.next_job()
    assert isinstance(job, Job)
    source.on_events(job.id, [probe_done(job.recipe), Finished(0.77, 1, 0.3, {})])
    tell = study.tell
    study.tell = lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        source.on_end(job.id)
    study.tell = tell  # type: ignore[method-assign]
    again = make_source(journal_study(tmp_path / "s"))
    assert [(r.job.number, r.state, r.objective) for r in again.records] == [(0, "COMPLETE", 0.77)]


def test_a_job_that_is_told_interrupted_is_run_again_next_time(tmp_path: Path) -> None:
    source = make_source(journal_study(tmp_path / "s"), n_trials=3)
    jobs = [source.next_job(), source.next_job()]
    assert all(isinstance(job, Job) for job in jobs)
    for job in jobs:
        assert isinstance(job, Job)
        source.on_end(job.id, INTERRUPTED)
    assert source.records == []
    ran: list[Job] = []
    again = make_source(journal_study(tmp_path / "s"), n_trials=3)
    run_inline(again, make_run_job(ran=ran))
    assert [job.recipe for job in ran[:2]] == [job.recipe for job in jobs]  # type: ignore[union-attr]
    assert len(ran) == 3


def test_a_failed_trial_is_not_run_again(tmp_path: Path) -> None:
    source = make_source(journal_study(tmp_path / "s"), n_trials=2)
    for _ in range(2):
        job = source.next_job()
        assert isinstance(job, Job)
        source.on_end(job.id, "ValueError: no")
    again = make_source(journal_study(tmp_path / "s"), n_trials=2)
    assert again.next_job() is Idle.DONE
    assert [r.state for r in again.records] == ["FAIL", "FAIL"]


def test_duplicates_do_not_count_when_going_on() -> None:
    study = memory_study(name="random")
    space = make_space(tau={"low": 0, "high": 6}, head_arch="linear", reinit_depth=0, ft_lr=0.01)
    source = make_source(study, space, n_trials=8, baseline_taus=(0, 6))
    run_inline(source, make_run_job())
    assert any("duplicate_of" in trial.user_attrs for trial in study.trials)
    ran: list[Job] = []
    more = make_source(study, space, n_trials=10, baseline_taus=(0, 6))
    assert len(more.records) == 8
    run_inline(more, make_run_job(ran=ran))
    assert len(ran) == 2


def test_another_space_is_another_search() -> None:
    study = memory_study()
    run_inline(make_source(study, n_trials=3), make_run_job())
    with pytest.raises(OutputError, match=r"head_arch was .*another output folder"):
        make_source(study, make_space(head_arch={"choices": ["mlp", "linear"]}))
    make_source(study, make_space(tau=8))  # fewer dimensions can go on


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=3))
def test_wherever_it_is_killed_every_trial_is_run_once(cuts: list[int]) -> None:
    """Each start begins some jobs, finishes all but the last, and is killed."""
    study = memory_study(name="random")
    space, run_job = make_space(n_epochs=3), make_run_job(n_epochs=3)
    n_done = 0
    for n_jobs in cuts:
        source = make_source(study, space, n_trials=6)
        for i in range(n_jobs):
            job = source.next_job()
            if isinstance(job, Job) and i < n_jobs - 1:
                for event in run_job(job):
                    if source.on_events(job.id, [event]):
                        break
                source.on_end(job.id)
                n_done += 1
    source = make_source(study, space, n_trials=6)
    assert len(source.records) == n_done
    run_inline(source, run_job)
    assert len(source.records) == 6 == len(set(keys(source)))
    first_two = {record.job.role for record in source.records[:2]}
    assert first_two == {"baseline_tau_0", "baseline_tau_max"}
    assert not [t for t in study.trials if t.state == TrialState.RUNNING]
