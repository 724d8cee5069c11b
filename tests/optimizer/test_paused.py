"""A search whose trials wait at rungs and go on if they are among the best there."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from energytune.optimizer import make_pruner, records_from_study
from energytune.optimizer.promotion import Rungs
from energytune.trial import EpochsDone, Event, Finished, Idle, Job, run_inline
from tests.optimizer.fakes import (
    N_EPOCHS,
    make_run_job,
    make_source,
    make_space,
    memory_study,
    quality,
    stopping,
)
from tests.optimizer.pausing import (
    ETA,
    RUNGS,
    Watcher,
    pausing_source,
    pausing_study,
    resuming,
    run_interleaved,
    run_one,
)


def reached(
    n_trials: int, values: list[float], n_finalists: int, n_baselines: int, eta: int
) -> list[int]:
    """How far each trial is run, written down anew: one job at a time, sorted at each look."""
    ends = (*RUNGS, N_EPOCHS)
    at = dict.fromkeys(range(n_trials), -1)  # index of the rung; -1 before it was begun

    def best(rung: int) -> list[int]:
        came = sorted((n for n in at if at[n] >= rung), key=lambda n: (-values[n], n))
        return came[: len(came) // eta]

    def go(number: int) -> None:
        at[number] += 1
        while at[number] < 3 and number in best(at[number]):
            at[number] += 1

    def promote() -> bool:
        for rung in (2, 1, 0):
            for number in best(rung):
                if at[number] == rung:
                    go(number)
                    return True
        return False

    for number in range(n_trials):
        while promote():
            pass
        go(number)
    while promote():
        pass
    for number in range(n_baselines):
        if at[number] < 3:
            at[number] = 3
            while promote():
                pass
    while sum(at[n] == 3 for n in range(n_baselines, n_trials)) < n_finalists:
        waiting = [n for n in range(n_baselines, n_trials) if at[n] < 3]
        at[max(waiting, key=lambda n: (at[n], values[n], -n))] = 3
        while promote():
            pass
    return [ends[at[number]] for number in range(n_trials)]


@pytest.mark.parametrize(
    ("n_trials", "n_finalists", "seed"), [(3, 1, 0), (12, 0, 1), (30, 1, 2), (30, 3, 3), (60, 2, 4)]
)
@pytest.mark.parametrize("eta", [3, 4])
def test_each_trial_is_run_as_far_as_it_has_earned(
    n_trials: int, n_finalists: int, seed: int, eta: int
) -> None:
    study = pausing_study(seed=seed)
    rungs = Rungs(RUNGS, eta)
    source = pausing_source(study, n_trials=n_trials, n_finalists=n_finalists, rungs=rungs)
    run_inline(source, resuming())
    records = source.records
    assert [record.job.number for record in records] == list(range(n_trials))
    begun = [record for record in records if record.epochs]  # others started like one that is whole
    values = [quality(record.job.recipe) for record in begun]
    expected = reached(len(begun), values, n_finalists, 2, eta)
    assert [len(record.epochs) for record in begun] == expected
    for record in begun:
        assert [e.epoch for e in record.epochs] == list(range(1, len(record.epochs) + 1))
        assert record.state == ("COMPLETE" if len(record.epochs) == N_EPOCHS else "PRUNED")
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert records_from_study(study) == records


def test_what_waits_is_running_in_the_study_and_has_its_curve() -> None:
    study = pausing_study()
    source = pausing_source(study, n_trials=2)
    ran: list[Job] = []
    run_job = resuming(ran=ran)
    for _ in range(2):
        job = source.next_job()
        assert isinstance(job, Job)
        run_one(source, job, run_job)
    for trial in study.trials:
        assert trial.state == TrialState.RUNNING
        assert trial.user_attrs["paused"] == 4 == len(trial.user_attrs["curve"]["epoch"])
        assert list(trial.intermediate_values) == [4]
        assert "snapshots" in trial.user_attrs
        assert "finished" not in trial.user_attrs
    assert source.records == []
    again = source.next_job()
    assert isinstance(again, Job)
    assert again == replace(ran[0], resume_epoch=4)


def test_observers_see_one_trial_with_pauses_in_it() -> None:
    watcher = Watcher()
    source = pausing_source(pausing_study(), n_trials=14, observers=[watcher])
    run_inline(source, resuming())
    ids = [f"t{number:03d}" for number in range(14)]
    assert watcher.started == ids
    assert sorted(record.job.id for record in watcher.ended) == ids
    assert len(watcher.paused) == len(set(watcher.paused))
    assert {4, 12} <= {epoch for _, epoch in watcher.paused} <= set(RUNGS)
    for record in watcher.ended:
        assert watcher.epochs.get(record.job.id, []) == [e.epoch for e in record.epochs]
        assert record.job.resume_epoch == 0
        assert record.seconds_hp == 0.5
        assert record.seconds_ft == pytest.approx(0.01 * len(record.epochs))
        assert record.waited_ms <= record.ended_ms - record.started_ms


@pytest.mark.parametrize("pause_baselines", [True, False])
def test_why_it_is_not_gone_on_with(pause_baselines: bool) -> None:
    study = pausing_study()
    source = pausing_source(study, n_trials=14, pause_baselines=pause_baselines)
    run_inline(source, resuming())
    waited = [r for r in source.records if r.state == "PRUNED" and r.epochs]
    assert waited
    for record in waited:
        trial = study.trials[record.job.number]
        at = len(record.epochs)
        seen = [r.epochs for r in source.records if len(r.epochs) >= at]
        mine = max(e.valid_acc for e in record.epochs)
        best = [max(e.valid_acc for e in curve[:at]) for curve in seen]
        assert record.reason.startswith(
            f"paused at epoch {at}: {sum(b > mine for b in best)} of {len(seen) - 1} other trials"
        )
        assert trial.user_attrs["reason"] == record.reason
        assert trial.value == record.epochs[-1].valid_acc


@pytest.mark.parametrize("n_finalists", [0, 2])
def test_a_search_too_small_for_a_promotion_ends_with_whole_trials(n_finalists: int) -> None:
    source = pausing_source(pausing_study(), n_trials=5, n_finalists=n_finalists)
    run_inline(source, resuming())
    whole = [r for r in source.records if r.state == "COMPLETE"]
    assert [r.job.role for r in whole[:2]] == ["baseline_tau_0", "baseline_tau_max"]
    assert len(whole) >= 2 + n_finalists
    assert len(whole) < 5
    assert source.end_reason == "5 trials"
    assert source.next_job() is Idle.DONE


def test_baselines_that_are_not_paused_run_through_and_count_at_the_rungs() -> None:
    ran: list[Job] = []
    source = pausing_source(pausing_study(), n_trials=4, pause_baselines=False)
    run_inline(source, resuming(ran=ran))
    assert [(job.number, job.resume_epoch) for job in ran[:3]] == [(0, 0), (1, 0), (2, 0)]
    assert [len(record.epochs) for record in source.records[:2]] == [N_EPOCHS, N_EPOCHS]


def test_without_rungs_nothing_waits() -> None:
    """Given no rungs, and given none at all, the study is the same."""
    plain, empty = (memory_study(make_pruner("energy", N_EPOCHS)) for _ in range(2))
    run_inline(make_source(plain, n_trials=8), make_run_job())
    run_inline(make_source(empty, n_trials=8, rungs=Rungs(())), make_run_job())
    assert [t.intermediate_values for t in plain.trials] == [
        t.intermediate_values for t in empty.trials
    ]
    assert not any("paused" in trial.user_attrs for trial in plain.trials)


def test_one_that_stopped_by_itself_does_not_wait_at_that_epoch() -> None:
    space = make_space()
    finetune = space.finetune.model_copy(update={"patience": 3 / N_EPOCHS})
    space = space.model_copy(update={"finetune": finetune})
    watcher = Watcher()
    source = pausing_source(
        pausing_study(), space=space, n_trials=9, rungs=Rungs((4, 20), ETA), observers=[watcher]
    )
    run_inline(source, resuming(stopping))
    stopped = [r for r in source.records if r.stop_reason]
    assert stopped
    assert {len(r.epochs) for r in stopped} == {20}
    assert not {(record.job.id, 20) for record in stopped} & set(watcher.paused)
    assert 20 in {epoch for _, epoch in watcher.paused}


def test_a_failure_after_a_pause_counts_nowhere() -> None:
    def bad(job: Job) -> Generator[Event, None, None]:
        for event in make_run_job()(job):
            if job.resume_epoch and isinstance(event, EpochsDone) and job.role == "search":
                (epoch,) = event.epochs
                event = EpochsDone((replace(epoch, valid_acc=math.nan),), 0.0)
            yield event

    study = pausing_study()
    source = pausing_source(study, n_trials=9)
    run_inline(source, resuming(bad))
    failed = [r for r in source.records if r.state == "FAIL"]
    assert failed
    for record in failed:
        assert len(record.epochs) in (5, 13, 37)
        assert record.reason.startswith(f"non-finite at FT epoch {len(record.epochs)}")
    assert records_from_study(study) == source.records


def test_finetuning_epochs_are_counted_once_and_what_must_be_whole_is_kept_for() -> None:
    ran: list[Job] = []
    source = pausing_source(pausing_study(), n_trials=99, n_ft_epochs=300)
    run_inline(source, resuming(ran=ran))
    n_run = sum(len(record.epochs) for record in source.records)
    assert source.end_reason == "300 finetuning epochs"
    assert 300 <= n_run <= 300 + 2 * N_EPOCHS
    whole = [record.job.role for record in source.records if record.state == "COMPLETE"]
    assert whole[:2] == ["baseline_tau_0", "baseline_tau_max"]
    assert "search" in whole
    assert len(source.records) > 10  # whole finetunes would have been 6


def test_less_than_the_baselines_is_spent_on_the_baselines() -> None:
    source = pausing_source(pausing_study(), n_ft_epochs=N_EPOCHS)
    run_inline(source, resuming())
    assert [len(record.epochs) for record in source.records] == [N_EPOCHS]


def test_without_time_nothing_goes_on_but_the_best() -> None:
    told = ["", "", "", "", "", ""]  # two looks a trial
    source = pausing_source(
        pausing_study(), n_trials=9, budgets=[lambda: told.pop() if told else "no time"]
    )
    ran: list[Job] = []
    run_inline(source, resuming(ran=ran))
    assert source.end_reason == "no time"
    assert [(job.number, job.resume_epoch) for job in ran] == [(0, 0), (1, 0), (2, 0), (2, 12)]
    assert [r.state for r in source.records] == ["PRUNED", "PRUNED", "COMPLETE"]


def test_a_limit_of_another_kind_lets_the_best_go_on() -> None:
    told = [""] * 9
    source = pausing_source(
        pausing_study(), n_trials=99, limits=[lambda: told.pop() if told else "converged"]
    )
    run_inline(source, resuming())
    assert source.end_reason == "converged"
    assert {len(record.epochs) for record in source.records} >= {4, 12, N_EPOCHS}


def test_it_waits_for_what_runs_before_it_finishes_the_rest() -> None:
    source = pausing_source(pausing_study(), n_trials=3)
    jobs = [source.next_job() for _ in range(3)]
    for job in jobs[:2]:
        assert isinstance(job, Job)
        run_one(source, job, resuming())
    assert source.next_job() is Idle.WAIT
    assert isinstance(jobs[2], Job)
    run_one(source, jobs[2], resuming())
    more = [source.next_job() for _ in range(4)]
    ids = [job.id for job in more[:3] if isinstance(job, Job)]
    assert sorted(ids) == ["t000", "t001", "t002"]  # beside each other
    assert more[3] is Idle.WAIT


def test_a_late_event_of_a_paused_job_is_dropped() -> None:
    source = pausing_source(pausing_study())
    job = source.next_job()
    assert isinstance(job, Job)
    events = list(make_run_job()(job))
    assert source.on_events(job.id, events)
    assert source.on_events(job.id, events[:3])
    source.on_end(job.id, "OutputError: closing it went wrong")
    assert source.records == []


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.integers(1, 20))
def test_at_any_concurrency_every_trial_ends_once_with_a_whole_curve(
    n_slots: int, seed: int, n_trials: int
) -> None:
    watcher, study = Watcher(), pausing_study(seed=seed)
    source = pausing_source(study, n_trials=n_trials, observers=[watcher], n_finalists=2)
    run_interleaved(source, resuming(), n_slots, seed)
    assert len(source.records) == len(watcher.ended) == len(watcher.started) == n_trials
    assert not [t for t in study.trials if t.state == TrialState.RUNNING]
    for record in source.records:
        assert [e.epoch for e in record.epochs] == list(range(1, len(record.epochs) + 1))
        assert len(record.epochs) in (0, *RUNGS, N_EPOCHS)
        assert watcher.epochs.get(record.job.id, []) == [e.epoch for e in record.epochs]
        assert isinstance(record.finished, Finished) == (len(record.epochs) == N_EPOCHS)
    assert records_from_study(study) == source.records
