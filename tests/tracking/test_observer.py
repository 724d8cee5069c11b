from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from energytune.config import DIMENSIONS
from energytune.tracking.curves import MAX_POINTS, on_grid
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.names import LOG_TAU
from energytune.tracking.observer import TrackingObserver
from energytune.trial import EpochsDone, ProbeDone, TestResult, TrialRecord

Make = Callable[..., TrialRecord]


@pytest.fixture
def journal(tmp_path: Path) -> TrackingJournal:
    return TrackingJournal(tmp_path / "tracking.jsonl")


def observe(journal: TrackingJournal, **more: Any) -> TrackingObserver:
    params = {"n_trials": 3, "ft_epochs": 20}
    return TrackingObserver(journal, "s1", "digits", "digits-mlp", params, **more)


def metrics(journal: TrackingJournal, uid: str) -> list[tuple[str, float, int, int]]:
    entries = [e for e in journal.read().entries if e["uid"] == uid and e["kind"] == "log"]
    return [tuple(m) for e in entries for m in e["metrics"]]


def of_kind(journal: TrackingJournal, kind: str) -> list[dict[str, Any]]:
    return [e for e in journal.read().entries if e["kind"] == kind]


def test_names_params_and_metrics_are_those_the_house_agreed_on(
    journal: TrackingJournal, make_record: Make
) -> None:
    record = make_record(27, test=TestResult(0.9, 0.3, (True,)))
    observer = observe(journal)
    observer.job_started(record.job)
    observer.job_ended(record)
    parent, run = of_kind(journal, "run")
    assert run["parent"] == parent["uid"]
    assert run["name"].startswith("t027 mlp tau=9 ")
    extra = {LOG_TAU, "dataset", "backbone", "seed", "role"}
    assert set(run["params"]) == {*DIMENSIONS, *extra}
    assert run["params"]["tau"] == "9"
    assert float(run["params"][LOG_TAU]) == 1.0
    assert {name for name, *_ in metrics(journal, run["uid"])} == {
        *("hp/train_acc", "hp/valid_acc", "hp/aie", "hp/valid_loss"),
        *("hp/head_norm", "hp/pull_norm"),
        *("ft/train_acc", "ft/train_loss", "ft/valid_acc", "ft/valid_loss"),
        *("ft/best_valid_acc", "ft/best_epoch", "objective", "test/accuracy", "test/loss"),
        *("adaptation/feature_distance", "adaptation/feature_cosine", "time/hp_s", "time/ft_s"),
    }


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [
        ("COMPLETE", "", "FINISHED"),
        ("PRUNED", "ft rung 16: 0.71 < 0.80", "KILLED"),
        ("FAIL", "loss is nan", "FAILED"),
    ],
)
def test_states_are_told_truly(
    journal: TrackingJournal, make_record: Make, state: str, reason: str, status: str
) -> None:
    observer = observe(journal)
    observer.job_ended(make_record(0, state, reason=reason))
    (end,) = of_kind(journal, "end")
    assert end["status"] == status
    assert end["tags"]["trial_state"] == state
    assert end["tags"].get("reason", "") == reason
    assert "stop_reason" not in end["tags"]
    names = {name for name, *_ in metrics(journal, end["uid"])}
    assert ("objective" in names) == (state == "COMPLETE")


def test_a_stop_is_a_finished_run_with_a_tag_of_its_own(
    journal: TrackingJournal, make_record: Make
) -> None:
    record = make_record(0, n_epochs=12)
    why = "stopped: no better validation since epoch 7, patience 5 epochs"
    observe(journal).job_ended(replace(record, finished=replace(record.finished, stop_reason=why)))
    (end,) = of_kind(journal, "end")
    assert end["status"] == "FINISHED"
    assert end["tags"] == {"trial_state": "COMPLETE", "stop_reason": why}


@pytest.mark.parametrize("chunk", [1, 7, 200])
def test_progress_and_end_write_each_point_once(
    journal: TrackingJournal, make_record: Make, chunk: int
) -> None:
    record = make_record(0, n_epochs=200)
    seconds = iter(range(10_000))
    observer = TrackingObserver(
        journal, "s1", "d", "b", {"ft_epochs": 200}, clock=lambda: 1.8e9 + 20 * next(seconds)
    )
    observer.job_started(record.job)
    observer.job_progress(record.job, [ProbeDone(record.snapshots, 1.0, 9)])
    for first in range(0, 200, chunk):
        observer.job_progress(record.job, [EpochsDone(record.epochs[first : first + chunk], 0.1)])
    observer.job_ended(record)
    seen = Counter((name, step) for name, _, _, step in metrics(journal, "s1.t000"))
    assert set(seen.values()) == {1}
    steps = sorted(step for name, step in seen if name == "ft/valid_acc")
    assert {1, 7, 200} <= set(steps)  # first, best and last
    assert len(steps) <= MAX_POINTS + 2
    assert sorted(s for n, s in seen if n == "hp/aie") == [s.epoch for s in record.snapshots]


@pytest.mark.parametrize("n_epochs", [1, 2, 39, 40, 41, 200, 1001])
def test_thinning_keeps_ends_and_few_points(n_epochs: int) -> None:
    kept = [e for e in range(1, n_epochs + 1) if on_grid(e, n_epochs)]
    assert kept[0] == 1
    assert kept[-1] == n_epochs
    assert len(kept) <= MAX_POINTS + 2
    assert n_epochs > MAX_POINTS or kept == list(range(1, n_epochs + 1))


def test_duplicates_get_no_run(journal: TrackingJournal, make_record: Make) -> None:
    observer = observe(journal)
    observer.job_ended(make_record(0))
    observer.job_ended(make_record(1, duplicate_of=0))
    observer.finish()
    assert len(of_kind(journal, "run")) == 2
    counts = {name: value for name, value, *_ in metrics(journal, "s1")}
    assert counts["search/n_duplicates"] == 1
    assert counts["search/n_complete"] == 1


def test_what_was_left_open_goes_on_in_its_run_and_counts_once(
    journal: TrackingJournal, make_record: Make
) -> None:
    first = observe(journal)
    first.job_ended(make_record(0, objective=0.9))
    first.job_started(make_record(1).job)
    first.job_started(make_record(2).job)
    second = observe(journal)
    second.job_started(make_record(1).job)
    second.job_ended(make_record(1, objective=0.5))
    assert second.run_uid("t001") == "s1.t001"
    second.finish()
    ends = {e["uid"]: e for e in of_kind(journal, "end")}
    assert ends["s1.t001"]["tags"]["trial_state"] == "COMPLETE"
    left = ends["s1.t002"]  # it was not told again
    assert (left["status"], left["tags"]["reason"]) == ("KILLED", "interrupted")
    assert [e["uid"] for e in of_kind(journal, "run")].count("s1.t001") == 1
    best = [value for name, value, *_ in metrics(journal, "s1") if name == "search/best_objective"]
    assert best == [0.9]
    counts = {name: value for name, value, *_ in metrics(journal, "s1")}
    assert (counts["search/n_complete"], counts["search/n_fail"]) == (2, 1)


def test_what_is_told_again_after_a_kill_is_not_written_again(
    journal: TrackingJournal, make_record: Make
) -> None:
    record = make_record(0, n_epochs=20)
    for n_told in (12, 20):  # killed after 12
        observer = observe(journal, progress_s=0.0)
        observer.job_started(record.job)
        observer.job_progress(record.job, [ProbeDone(record.snapshots, 1.0, 9)])
        observer.job_progress(record.job, [EpochsDone(record.epochs[:n_told], 0.1)])
    observer.job_ended(record)
    seen = Counter((name, step) for name, _, _, step in metrics(journal, "s1.t000"))
    assert set(seen.values()) == {1}
    assert len([step for name, step in seen if name == "ft/valid_acc"]) == 20


def test_it_knows_which_ends_an_earlier_start_has_told(
    journal: TrackingJournal, make_record: Make
) -> None:
    first = observe(journal)
    done, running, stopped = (make_record(i) for i in range(3))
    first.job_ended(done)
    first.job_started(running.job)
    first.finish()  # ends what runs as interrupted
    first = observe(journal)
    first.job_started(stopped.job)
    second = observe(journal)
    assert [second.has_told(r.job) for r in (done, running, stopped)] == [True, False, False]
    confirmed = replace(done.job, id="c000-s1", role="confirm")
    test = replace(confirmed, id="c000-s1-test", role="test", tested="c000-s1")
    assert not second.has_told(test)
    second.job_ended(replace(done, job=confirmed))
    tested = make_record(0, test=TestResult(0.9, 0.3, (True,)))
    second.job_ended(replace(tested, job=test))
    third = observe(journal)
    assert (third.has_told(confirmed), third.has_told(test)) == (True, True)


def test_finish_ends_open_trials_and_lists_files(
    journal: TrackingJournal, make_record: Make, tmp_path: Path
) -> None:
    observer = observe(journal)
    observer.job_started(make_record(0).job)
    observer.finish(files=[tmp_path / "out" / "trials.json"], status="KILLED", reason="Ctrl-C")
    trial, parent = of_kind(journal, "end")
    assert trial["tags"]["reason"] == "interrupted"
    assert (parent["status"], parent["tags"]) == ("KILLED", {"reason": "Ctrl-C"})
    assert [e["path"] for e in of_kind(journal, "file")] == ["out/trials.json"]


def test_a_full_disk_does_not_raise_into_the_search(make_record: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    observer = observe(TrackingJournal(tmp_path / "file" / "j"))
    observer.job_ended(make_record(0))
    assert observer.problem is not None
    assert "file" in observer.problem


def test_unfinite_curves_of_a_failed_trial_are_no_obstacle(
    journal: TrackingJournal, make_record: Make
) -> None:
    record = make_record(0, "FAIL", reason="loss is nan at epoch 3", objective=float("nan"))
    observe(journal).job_ended(record)
    assert all(value == value for _, value, *_ in metrics(journal, "s1.t000"))


def job_that_tests(record: TrialRecord) -> TrialRecord:
    job = replace(record.job, id=f"{record.job.id}-test", role="test", tested=record.job.id)
    return replace(record, job=job, snapshots=(), epochs=())


def test_a_test_result_goes_to_the_run_of_its_confirmation(
    journal: TrackingJournal, make_record: Make
) -> None:
    confirmation = make_record(3, role="confirm")
    observe(journal).job_ended(confirmation)
    observer = observe(journal)  # a later start
    tested = job_that_tests(make_record(3, role="confirm", test=TestResult(0.9, 0.3, (True,))))
    observer.job_started(tested.job)
    observer.job_progress(tested.job, [])
    observer.job_ended(tested)
    assert {run["uid"] for run in of_kind(journal, "run")} == {"s1", "s1.t003"}
    news = metrics(journal, "s1.t003")[-2:]
    assert [(name, value) for name, value, *_ in news] == [
        ("test/accuracy", 0.9),
        ("test/loss", 0.3),
    ]
    assert len(of_kind(journal, "end")) == 1
    observer.finish()
    assert ("search/n_complete", 1.0) in [(n, v) for n, v, *_ in metrics(journal, "s1")]


def test_a_test_that_failed_leaves_its_reason(journal: TrackingJournal, make_record: Make) -> None:
    observer = observe(journal)
    observer.job_ended(make_record(3, role="confirm"))
    failed = make_record(3, "FAIL", role="confirm", reason="out of memory")
    observer.job_ended(job_that_tests(failed))
    entry = journal.read().entries[-1]
    assert (entry["uid"], entry["kind"], entry["metrics"]) == ("s1.t003", "log", [])
    assert entry["tags"] == {"test_reason": "out of memory"}


def test_neither_a_confirmation_nor_a_test_is_the_best_so_far(
    journal: TrackingJournal, make_record: Make
) -> None:
    observer = observe(journal)
    observer.job_ended(make_record(1, role="confirm", objective=0.99))
    observer.job_ended(job_that_tests(make_record(1, role="confirm", objective=0.99)))
    assert metrics(journal, "s1") == []
