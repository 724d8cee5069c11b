"""A search that pauses, killed and started again, leaves the study of one that was not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study import Study
from optuna.trial import TrialState

from energytune.optimizer import records_from_study
from energytune.optimizer.promotion import Rungs
from energytune.trial import Event, Idle, Job, TrialRecord, run_inline
from energytune.trial.builder import INTERRUPTED
from tests.optimizer.fakes import N_EPOCHS, journal_study, make_source
from tests.optimizer.pausing import (
    ETA,
    RUNGS,
    Watcher,
    pausing_pruner,
    pausing_source,
    pausing_study,
    resuming,
    run_one,
)

SEARCH: dict[str, Any] = {"n_trials": 14, "n_finalists": 2}


class Killed(BaseException):
    """The process is gone."""


def left_in(study: Study) -> list[tuple[Any, ...]]:
    kept = ("recipe", "role", "curve", "paused", "reason", "snapshots")
    return [
        (
            trial.number,
            trial.state,
            trial.value,
            trial.params,
            trial.intermediate_values,
            {name: trial.user_attrs.get(name) for name in kept},
        )
        for trial in study.trials
    ]


def timeless(record: TrialRecord) -> dict[str, Any]:
    clocks = ("started_ms", "ended_ms", "waited_ms", "seconds_ft")
    return {name: value for name, value in record.to_dict().items() if name not in clocks}


def run_until_killed(study: Study, kill_at: int) -> bool:
    """Runs a search, killed in the first job that goes on after ``kill_at`` events.

    Returns whether it came to its end before.
    """
    source = pausing_source(study, **SEARCH)
    n_events = 0
    while isinstance(job := source.next_job(), Job):
        for event in resuming()(job):
            n_events += 1
            if n_events >= kill_at and job.resume_epoch:
                return False
            if source.on_events(job.id, [event]):
                break
        source.on_end(job.id)
    return True


@pytest.fixture(scope="module")
def whole() -> Study:
    study = pausing_study()
    run_inline(pausing_source(study, **SEARCH), resuming())
    return study


@pytest.mark.parametrize("kill_at", [1, 60, 90, 130, 180, 260, 300])
def test_killed_while_a_trial_goes_on_it_leaves_the_same_study(whole: Study, kill_at: int) -> None:
    study = pausing_study()
    if not run_until_killed(study, kill_at):
        run_inline(pausing_source(study, **SEARCH), resuming())
    assert left_in(study) == left_in(whole)
    assert [*map(timeless, records_from_study(study))] == [
        *map(timeless, records_from_study(whole))
    ]


def test_some_of_those_kills_hit(whole: Study) -> None:
    hits = [not run_until_killed(pausing_study(), at) for at in (60, 180, 260)]
    assert all(hits)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 70), max_size=6))
def test_killed_again_and_again_it_leaves_the_same_study(cuts: list[int]) -> None:
    study, undisturbed = pausing_study(), pausing_study()
    run_inline(pausing_source(undisturbed, **SEARCH), resuming())
    for cut in cuts:
        run_until_killed(study, cut)
    run_inline(pausing_source(study, **SEARCH), resuming())
    assert left_in(study) == left_in(undisturbed)


@pytest.mark.parametrize("n_jobs", [3, 8])
def test_killed_between_two_jobs_nothing_is_lost_from_disk(tmp_path: Path, n_jobs: int) -> None:
    """The journal file is all that is left; the search after it is that of an undisturbed one."""
    undisturbed = journal_study(tmp_path / "a", pausing_pruner())
    run_inline(pausing_source(undisturbed, n_trials=7), resuming())

    source = pausing_source(journal_study(tmp_path / "b", pausing_pruner()), n_trials=7)
    for _ in range(n_jobs):
        job = source.next_job()
        assert isinstance(job, Job)
        run_one(source, job, resuming())
    again = journal_study(tmp_path / "b", pausing_pruner())
    run_inline(pausing_source(again, n_trials=7), resuming())
    assert left_in(again) == left_in(undisturbed)


def test_a_trial_that_had_never_waited_is_handed_out_again_first() -> None:
    study = pausing_study()
    source = pausing_source(study, **SEARCH)
    first = source.next_job()
    assert isinstance(first, Job)
    run_one(source, first, resuming())
    lost = source.next_job()
    assert isinstance(lost, Job)
    again = pausing_source(study, **SEARCH)
    assert study.trials[first.number].state == TrialState.RUNNING
    assert again.next_job() == lost


def going_on(source: Any) -> tuple[Job, list[Event]]:
    """Runs jobs until one goes on; returns it and its events."""
    while True:
        job = source.next_job()
        assert isinstance(job, Job)
        if job.resume_epoch:
            return job, list(resuming()(job))
        run_one(source, job, resuming())


def test_interrupted_after_a_pause_it_waits_there_again() -> None:
    study, watcher = pausing_study(), Watcher()
    source = pausing_source(study, **SEARCH, observers=[watcher])
    job, events = going_on(source)
    source.on_events(job.id, events[:5])
    source.on_end(job.id, INTERRUPTED)
    assert study.trials[job.number].state == TrialState.RUNNING
    assert len(study.trials[job.number].user_attrs["curve"]["epoch"]) == job.resume_epoch
    assert not [record for record in watcher.ended if record.job.number == job.number]
    again = pausing_source(study, **SEARCH)
    assert again.next_job() == job


def test_an_interrupted_one_counts_as_begun_once() -> None:
    study = pausing_study()
    source = pausing_source(study, **SEARCH)
    job, _ = going_on(source)
    source.on_end(job.id, INTERRUPTED)
    again = pausing_source(study, **SEARCH)
    run_inline(again, resuming())
    assert len(again.records) == SEARCH["n_trials"]
    assert [r.job.number for r in again.records] == list(range(SEARCH["n_trials"]))


def test_a_longer_curve_than_the_pause_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the writes of a second pause: the first one is what holds."""
    study = pausing_study()
    source = pausing_source(study, **SEARCH)
    job, events = going_on(source)
    live = source._running[job.id].trial
    write = live.set_user_attr

    def killed(name: str, value: Any) -> None:
        if name == "paused":
            raise Killed
        write(name, value)

    monkeypatch.setattr(live, "set_user_attr", killed)
    assert source.on_events(job.id, events)
    with pytest.raises(Killed):
        source.on_end(job.id)
    assert len(study.trials[job.number].user_attrs["curve"]["epoch"]) > job.resume_epoch
    again = pausing_source(study, **SEARCH)
    assert again.next_job() == job
    run_one(again, job, resuming())
    run_inline(again, resuming())
    assert len(again.records) == SEARCH["n_trials"]
    for record in again.records:
        assert [e.epoch for e in record.epochs] == list(range(1, len(record.epochs) + 1))


def test_observers_of_a_continued_search_are_told_what_came_before() -> None:
    study = pausing_study()
    source = pausing_source(study, **SEARCH)
    for _ in range(4):
        job = source.next_job()
        assert isinstance(job, Job)
        run_one(source, job, resuming())
    watcher = Watcher()
    again = pausing_source(study, **SEARCH, observers=[watcher])
    assert watcher.started == []  # until it goes on
    run_inline(again, resuming())
    assert sorted(record.job.id for record in watcher.ended) == [
        record.job.id for record in again.records
    ]
    assert len(watcher.started) == len(set(watcher.started))
    for record in watcher.ended:
        if record.job.id in watcher.started:
            assert watcher.epochs.get(record.job.id, []) == [e.epoch for e in record.epochs]
            assert watcher.probed.count(record.job.id) == 1


def test_seconds_are_summed_over_parts_and_starts() -> None:
    study = pausing_study()
    source = pausing_source(study, **SEARCH)
    job, _ = going_on(source)
    source.on_end(job.id, INTERRUPTED)
    again = pausing_source(study, **SEARCH)
    run_inline(again, resuming())
    for record in again.records:
        assert record.seconds_hp == 0.5
        assert record.seconds_ft == pytest.approx(0.01 * len(record.epochs))


def test_without_rungs_what_waited_is_run_again_from_the_start() -> None:
    study = pausing_study()
    source = pausing_source(study, n_trials=3)
    jobs = [source.next_job(), source.next_job()]
    for job in jobs:
        assert isinstance(job, Job)
        run_one(source, job, resuming())
    ran: list[Job] = []
    plain = make_source(study, n_trials=3)
    run_inline(plain, resuming(ran=ran))
    assert [(job.recipe, job.resume_epoch) for job in ran[:2]] == [
        (job.recipe, 0) for job in jobs if isinstance(job, Job)
    ]
    assert {len(record.epochs) for record in plain.records} == {N_EPOCHS}


def test_a_search_that_has_ended_goes_on_with_more_trials() -> None:
    study = pausing_study()
    first = pausing_source(study, n_trials=6)
    run_inline(first, resuming())
    ran: list[Job] = []
    more = pausing_source(study, n_trials=20)
    run_inline(more, resuming(ran=ran))
    assert min(job.number for job in ran) == 6  # what was told PRUNED has ended
    assert len(more.records) == 20
    assert more.records[:6] == first.records
    assert pausing_source(study, n_trials=20).next_job() is Idle.DONE


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_rungs_are_read_from_the_study_whatever_the_order(order: tuple[int, ...]) -> None:
    study = pausing_study()
    source = pausing_source(study, n_trials=3)
    jobs = [source.next_job() for _ in range(3)]
    for place in order:
        job = jobs[place]
        assert isinstance(job, Job)
        run_one(source, job, resuming())
    rungs = Rungs(RUNGS, ETA)
    pausing_source(study, n_trials=3, rungs=rungs)
    waiting = {t.number: t.user_attrs["paused"] for t in study.trials}
    assert rungs.paused == waiting
