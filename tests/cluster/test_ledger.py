from __future__ import annotations

import pickle
import threading

import pytest
from cluster_fakes import PROBED, RecordingSource, epoch, job

from energytune.cluster.ledger import INTERRUPTED, JobLedger
from energytune.cluster.scheduler import JobScheduler
from energytune.cluster.searcher import JobSearcher
from energytune.trial import EpochsDone, Event, Finished, Idle


def test_hands_out_as_many_jobs_as_may_run_at_once() -> None:
    source = RecordingSource(["a", "b", "c"])
    ledger = JobLedger(source, capacity=2)
    assert [ledger.next_job(t) for t in ("t1", "t2", "t3")] == [job("a"), job("b"), Idle.WAIT]
    assert ("next", "c") not in source.calls
    ledger.end("t1")
    assert ledger.next_job("t3") == job("c")


def test_after_a_wait_the_source_is_asked_again_when_a_job_has_ended() -> None:
    source = RecordingSource(["a", "|", "b"])
    ledger = JobLedger(source, capacity=2)
    ledger.next_job("t1")
    assert [ledger.next_job("t2") for _ in range(5)] == [Idle.WAIT] * 5
    assert source.calls.count(("next", "wait")) == 1
    ledger.end("t1")
    assert ledger.next_job("t2") == job("b")


def test_a_wait_with_nothing_running_ends_the_search() -> None:
    class Waiting(RecordingSource):
        def next_job(self) -> Idle:
            return Idle.WAIT

    assert JobLedger(Waiting([]), capacity=1).next_job("t1") is Idle.DONE


def test_a_lost_job_is_handed_out_again_and_what_it_repeats_is_not_told_twice() -> None:
    source = RecordingSource(["a", "b"])
    ledger = JobLedger(source, capacity=1)
    ledger.next_job("t1")
    ledger.deliver("t1", [PROBED, epoch(1)])
    ledger.deliver("t1", [epoch(2)])
    ledger.note_failure("t1", "killed")
    ledger.end("t1", lost=True)
    assert ledger.next_job("t2") == job("a")  # before any new one
    both = EpochsDone(epoch(2).epochs + epoch(3).epochs, seconds=3.0)
    finished = Finished(0.5, 1, 1.0, {})
    assert ledger.deliver("t2", [PROBED, epoch(1)]) is False
    ledger.deliver("t2", [both, finished])
    ledger.end("t2")
    told: list[Event] = [PROBED, epoch(1), epoch(2), EpochsDone(epoch(3).epochs, 1.5), finished]
    assert source.events("a") == told
    assert source.ends == {"a": None}


def test_the_last_job_may_be_lost_too() -> None:
    ledger = JobLedger(RecordingSource(["a"]), capacity=2)
    ledger.next_job("t1")
    assert ledger.next_job("t2") is Idle.WAIT  # not done: it would not be asked again
    ledger.end("t1", lost=True)
    assert ledger.next_job("t2") == job("a")
    ledger.end("t2")
    assert ledger.next_job("t3") is Idle.DONE


def test_a_job_that_loses_all_its_workers_has_failed() -> None:
    source = RecordingSource(["a"])
    ledger = JobLedger(source, capacity=1)
    for attempt in range(4):
        assert ledger.next_job(f"t{attempt}") == job("a")
        ledger.deliver(f"t{attempt}", [PROBED])  # nothing new after the first
        ledger.note_failure(f"t{attempt}", f"killed {attempt}")
        ledger.end(f"t{attempt}", lost=True)
    assert ledger.next_job("t9") is Idle.DONE
    assert source.ends == {"a": "killed 3"}


def test_a_job_that_gets_on_may_lose_any_number_of_workers() -> None:
    source = RecordingSource(["a"])
    ledger = JobLedger(source, capacity=1)
    for attempt in range(1, 20):
        assert ledger.next_job(f"t{attempt}") == job("a")
        ledger.deliver(f"t{attempt}", [epoch(attempt)])
        ledger.end(f"t{attempt}", lost=True)
    assert ledger.next_job("t99") == job("a")
    assert source.ends == {}


def test_a_job_that_waits_for_a_worker_is_told_when_the_search_is_stopped() -> None:
    source = RecordingSource(["a"])
    ledger = JobLedger(source, capacity=1)
    ledger.next_job("t1")
    ledger.end("t1", lost=True)
    ledger.end_all()
    assert source.ends == {"a": INTERRUPTED}


def test_an_end_is_told_once_whoever_tells_it() -> None:
    source = RecordingSource(["a", "b", "c"])
    ledger = JobLedger(source, capacity=3)
    for trial_id in ("t1", "t2", "t3"):
        ledger.next_job(trial_id)
    ledger.end("t1", "ValueError: no")
    ledger.end("t1", lost=True)
    ledger.end("t2", lost=True)
    ledger.end_all()
    ledger.end_all()
    assert source.ends == {"a": "ValueError: no", "b": INTERRUPTED, "c": INTERRUPTED}
    assert ledger.deliver("t1", [epoch(1)]) is True


@pytest.mark.parametrize("method", ["next_job", "on_events", "on_end"])
def test_what_the_source_raises_ends_the_search_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    source = RecordingSource(["a", "b"])
    ledger = JobLedger(source, capacity=2)
    ledger.next_job("t1")
    error = OSError("disk full")

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(source, method, fail)
    if method == "next_job":
        assert ledger.next_job("t2") is Idle.DONE
    elif method == "on_events":
        assert ledger.deliver("t1", [epoch(1)]) is True
    else:
        ledger.end("t1")
    assert ledger.failure is error
    assert ledger.next_job("t3") is Idle.DONE


def test_ray_never_sees_the_source() -> None:
    source = RecordingSource(["a"])
    source.lock = threading.Lock()  # type: ignore[attr-defined]
    ledger = JobLedger(source, capacity=1)
    for plugin in (JobSearcher(ledger), JobScheduler(ledger, 1)):
        assert pickle.loads(pickle.dumps(plugin))._ledger is None
        assert plugin._ledger is ledger


def test_a_trial_that_waits_for_its_worker_is_not_moved_to_another() -> None:
    class Trial:
        status = "PENDING"
        trial_id = "t1"

    scheduler, waiting = JobScheduler(None, 2), Trial()
    scheduler._warm = True
    scheduler.on_trial_add(None, waiting)  # type: ignore[arg-type]
    assert scheduler.choose_trial_to_run(None) is waiting
    assert scheduler.choose_trial_to_run(None) is None
    scheduler.on_trial_add(None, waiting)  # type: ignore[arg-type]
    assert scheduler.choose_trial_to_run(None) is waiting
