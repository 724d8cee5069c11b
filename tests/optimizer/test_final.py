from __future__ import annotations

from dataclasses import replace

import pytest

from energytune.optimizer import FinalSource
from energytune.trial import Finished, Idle, Job, Tested, TestResult, TrialRecord
from tests.optimizer.racing import Watcher, confirmed

TEST = TestResult(0.5, 0.7, (True, False))
OLD = TestResult(1.0, 0.2, (True, True))


def started(source: FinalSource) -> Job:
    job = source.next_job()
    assert isinstance(job, Job)
    return job


def test_each_model_that_was_not_tested_is_tested_once() -> None:
    watcher = Watcher()
    runs = [confirmed(7, 1000, 0.9), confirmed(0, 1000, 0.8, test=OLD), confirmed(7, 1001, 0.91)]
    source = FinalSource(runs, observers=[watcher])
    jobs = [started(source), started(source)]
    assert source.next_job() is Idle.WAIT
    assert [(j.id, j.role, j.tested, j.number, j.seed) for j in jobs] == [
        ("c007-s1000-test", "test", "c007-s1000", 7, 1000),
        ("c007-s1001-test", "test", "c007-s1001", 7, 1001),
    ]
    for job in reversed(jobs):
        assert not source.on_events(job.id, [Tested(TEST, 0.1)])
        source.on_end(job.id)
    assert source.next_job() is Idle.DONE
    assert source.records == [
        replace(run, finished=replace(run.finished, test=run.finished.test or TEST))
        for run in runs
        if run.finished
    ]
    told = [(r.job.id, r.job.role, r.state, r.finished) for r in watcher.ended]
    merged = [record.finished for record in source.records]
    assert told == [
        ("c007-s1001-test", "test", "COMPLETE", merged[2]),
        ("c007-s1000-test", "test", "COMPLETE", merged[0]),
    ]


@pytest.mark.parametrize("finished", [True, False])
def test_a_test_that_fails_leaves_the_run_without(finished: bool) -> None:
    run = confirmed(7, 1000, 0.9)
    watcher = Watcher()
    source = FinalSource([run], observers=[watcher])
    job = started(source)
    if finished:  # trained again, then it crashed
        source.on_events(job.id, [Finished(0.9, 1, 0.4, {})])
    source.on_end(job.id, "ValueError: no")
    assert source.records == [run]
    assert [(r.state, r.reason, r.finished) for r in watcher.ended] == [
        ("FAIL", "ValueError: no", None)
    ]


def test_what_was_trained_again_is_what_was_tested() -> None:
    source = FinalSource([confirmed(7, 1000, 0.9)])
    job = started(source)
    again = Finished(0.89, 3, 0.3, {"feature_norm": 1.0}, None, "/new/weights")
    source.on_events(job.id, [again, Tested(TEST, 0.1)])
    source.on_end(job.id)
    assert [record.finished for record in source.records] == [replace(again, test=TEST)]


def test_wanted_weights_that_are_gone_are_trained_without_reading_test_again() -> None:
    watcher = Watcher()
    runs = [confirmed(7, 1000, 0.9, test=OLD), confirmed(7, 1001, 0.8, test=OLD)]
    source = FinalSource(runs, retrain=["c007-s1000"], observers=[watcher])
    job = started(source)
    assert (job.id, job.role) == ("c007-s1000", "confirm")
    assert source.next_job() is Idle.WAIT
    again = Finished(0.9, 1, 0.4, {}, None, "/new/weights")
    source.on_events(job.id, [again])
    source.on_end(job.id)
    assert source.next_job() is Idle.DONE
    assert source.records[0].finished == replace(again, test=OLD)
    assert source.records[1] == runs[1]
    assert watcher.ended[0].finished == source.records[0].finished


def test_runs_that_have_failed_are_not_tested() -> None:
    run = confirmed(7, 1000, 0.9)
    failed = TrialRecord(run.job, "FAIL", "crash")
    source = FinalSource([failed])
    assert source.next_job() is Idle.DONE
    assert source.records == [failed]
