"""Replay into a real SQLite store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow.exceptions
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from energytune.errors import TrackingError
from energytune.tracking.drain import Drain
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.names import UID_TAG
from energytune.tracking.observer import TrackingObserver
from energytune.tracking.resend import sync
from energytune.tracking.sender import Sender
from energytune.tracking.store import artifact_root, default_uri, journal_path, sqlite_path
from energytune.trial import TrialRecord

pytestmark = pytest.mark.integration
Make = Callable[..., TrialRecord]


def fill(folder: Path, make_record: Make, numbers: range = range(3)) -> TrackingObserver:
    journal = TrackingJournal(journal_path(folder))
    observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {"ft_epochs": 20})
    states = ["COMPLETE", "PRUNED", "FAIL"]
    for number in numbers:
        state = states[number % 3]
        observer.job_ended(make_record(number, state, reason="" if number % 3 == 0 else "why"))
    return observer


def picture(uri: str) -> dict[str, Any]:
    """Everything MLflow holds about the search, by uid."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    uids = {run.info.run_id: run.data.tags[UID_TAG] for run in runs}
    assert len(set(uids.values())) == len(uids), "a run is there twice"
    return {uids[run.info.run_id]: _run_picture(client, run, uids) for run in runs}


def _run_picture(client: MlflowClient, run: Run, uids: dict[str, str]) -> dict[str, Any]:
    points = [
        (m.key, m.value, m.timestamp, m.step)
        for key in run.data.metrics
        for m in client.get_metric_history(run.info.run_id, key)
    ]
    assert len(set(points)) == len(points), "a point is there twice"
    tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
    info = run.info
    return {
        "info": (info.run_name, info.status, info.start_time, info.end_time),
        "parent": uids.get(run.data.tags.get("mlflow.parentRunId", "")),
        "params": run.data.params,
        "tags": tags,
        "points": sorted(points),
    }


def test_replaying_three_times_doubles_nothing(tmp_path: Path, make_record: Make) -> None:
    fill(tmp_path, make_record).finish(metrics={"test/accuracy": 0.9})
    first = sync(tmp_path)
    once = picture(first.uri)
    for _ in range(2):
        again = sync(tmp_path)
        assert (again.n_runs, again.n_entries) == (first.n_runs, first.n_entries)
        assert again.rejected == {}
    assert picture(first.uri) == once
    assert set(once) == {"s1", "s1.t000", "s1.t001", "s1.t002"}
    statuses = {uid: run["info"][1] for uid, run in once.items()}
    assert statuses == {
        "s1": "FINISHED",
        "s1.t000": "FINISHED",
        "s1.t001": "KILLED",
        "s1.t002": "FAILED",
    }
    assert once["s1.t001"]["tags"]["trial_state"] == "PRUNED"
    assert once["s1.t001"]["tags"]["reason"] == "why"
    assert {run["parent"] for uid, run in once.items() if uid != "s1"} == {"s1"}


def test_in_pieces_or_at_once_gives_the_same(tmp_path: Path, make_record: Make) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    fill(whole, make_record).finish()
    text = journal_path(whole).read_text()
    pieces.mkdir()
    journal = TrackingJournal(journal_path(pieces))
    uri = default_uri(pieces)
    drain = Drain(journal, uri, artifact_root(uri, pieces))
    for line in text.splitlines(keepends=True):
        with open(journal.path, "a") as file:
            file.write(line)
        drain()
    assert drain.n_unsent() == 0
    assert picture(uri) == picture(sync(whole).uri)


def test_a_resumed_search_goes_on_in_the_same_parent(tmp_path: Path, make_record: Make) -> None:
    fill(tmp_path, make_record).finish(status="KILLED", reason="Ctrl-C")
    uri = default_uri(tmp_path)
    Sender(journal_path(tmp_path), uri).start().stop(60)
    journal = TrackingJournal(journal_path(tmp_path))
    again = TrackingObserver(journal, "s1", "digits", "digits-mlp", {"ft_epochs": 99})
    again.job_ended(make_record(3))
    sender = Sender(journal, uri, interval_s=0.05).start()
    assert sender.stop(60) == 0
    parent = picture(uri)["s1"]
    assert parent["info"][1] == "RUNNING"
    assert parent["params"]["ft_epochs"] == "20"
    assert parent["tags"]["resumed.ft_epochs"] == "99"
    again.finish()
    assert Sender(journal, uri).start().stop(60) == 0
    assert picture(uri)["s1"]["info"][1] == "FINISHED"
    before = picture(uri)
    sync(tmp_path)
    assert picture(uri) == before


def test_files_become_artifacts_under_an_absolute_place(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / "run"
    observer = fill(folder, make_record)
    (folder / "trials.json").write_text(json.dumps([1, 2]))
    observer.finish(files=[folder / "trials.json", folder / "deleted.csv"])
    uri = sync(folder).uri
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    assert experiment.artifact_location.startswith(str(folder / "mlartifacts"))
    (parent,) = client.search_runs([experiment.experiment_id], f"tags.`{UID_TAG}` = 's1'")
    assert [a.path for a in client.list_artifacts(parent.info.run_id)] == ["trials.json"]
    assert list(elsewhere.iterdir()) == []


def test_a_run_the_user_has_deleted_stays_deleted(tmp_path: Path, make_record: Make) -> None:
    fill(tmp_path, make_record).finish()
    uri = sync(tmp_path).uri
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`{UID_TAG}` = 's1.t001'")
    client.delete_run(run.info.run_id)
    result = sync(tmp_path)
    assert set(result.rejected) == {"s1.t001"}
    assert set(picture(uri)) == {"s1", "s1.t000", "s1.t002"}


def test_an_answer_that_got_lost_makes_no_second_run(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, make_record).finish()
    uri = default_uri(tmp_path)
    drain = Drain(TrackingJournal(journal_path(tmp_path)), uri, artifact_root(uri, tmp_path))
    for name in ("create_run", "log_batch", "set_terminated"):
        real = getattr(MlflowClient, name)

        def done_but_not_heard(self: Any, *args: Any, real: Any = real, **more: Any) -> None:
            real(self, *args, **more)
            raise mlflow.exceptions.MlflowException("connection reset")

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, done_but_not_heard)
            with pytest.raises(TrackingError, match="connection reset"):
                drain()
    drain()
    assert set(picture(uri)) == {"s1", "s1.t000", "s1.t001", "s1.t002"}


def test_two_processes_do_not_replay_at_once(tmp_path: Path, make_record: Make) -> None:
    from energytune.tracking.store import locked

    fill(tmp_path, make_record)
    path = journal_path(tmp_path)
    sender = Sender(path, default_uri(tmp_path), interval_s=0.01)
    with locked(path.with_suffix(".lock")):
        sender.start()
        assert sender.stop(200) > 0
        assert "Another process" in str(sender.problem)
        with pytest.raises(TrackingError, match="Another process"):
            sync(tmp_path, wait_s=0.2)


def test_sync_without_a_journal_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no tracking journal"):
        sync(tmp_path)


def test_sync_sends_what_the_store_has_lost_and_nothing_else(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, make_record).finish()
    uri = sync(tmp_path).uri
    whole = picture(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits").experiment_id
    ids = {r.data.tags[UID_TAG]: r.info.run_id for r in client.search_runs([experiment])}

    sent: list[str] = []
    for name in ("log_batch", "create_run", "set_terminated", "update_run"):
        real = getattr(MlflowClient, name)

        def told(self: Any, about: str, *args: Any, real: Any = real, **more: Any) -> Any:
            sent.append(about)
            return real(self, about, *args, **more)

        monkeypatch.setattr(MlflowClient, name, told)
    sync(tmp_path)
    assert sent == []

    client.set_tag(ids["s1.t000"], "trial_state", "")
    client.delete_tag(ids["s1.t001"], "reason")
    with closing(sqlite3.connect(sqlite_path(uri))) as store, store:  # an older backup
        for table in ("metrics", "latest_metrics"):
            store.execute(f"DELETE FROM {table} WHERE key = 'ft/valid_acc'")
            store.execute(f"DELETE FROM {table} WHERE run_uuid != ?", (ids["s1.t002"],))
    assert picture(uri) != whole
    sync(tmp_path)
    assert picture(uri) == whole
    assert set(sent) == {*ids.values()}


@pytest.mark.parametrize("n_metrics", [0, 3])
def test_a_run_that_a_hanging_server_made_too_late_is_deleted(
    tmp_path: Path, make_record: Make, n_metrics: int
) -> None:
    fill(tmp_path, make_record).finish()
    uri = sync(tmp_path).uri
    whole = picture(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`{UID_TAG}` = 's1.t001'")
    twin = client.create_run(experiment, tags=run.data.tags)
    for step in range(n_metrics):
        client.log_metric(twin.info.run_id, "hp/aie", 0.5, step=step)
    sync(tmp_path)
    assert picture(uri) == whole


def test_a_connection_that_the_database_cut_is_no_refusal(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, make_record).finish()
    uri = default_uri(tmp_path)
    drain = Drain(TrackingJournal(journal_path(tmp_path)), uri, artifact_root(uri, tmp_path))
    real, n_calls = MlflowClient.log_batch, 0

    def cut_twice(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls <= 2:
            raise mlflow.exceptions.MlflowException(
                "(psycopg2.InterfaceError) connection already closed", BAD_REQUEST
            )
        return real(self, *args, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", cut_twice)
    for _ in range(2):
        with pytest.raises(TrackingError, match="already closed"):
            drain()
    drain()
    assert drain.rejected == {}
    assert set(picture(uri)) == {"s1", "s1.t000", "s1.t001", "s1.t002"}


def test_two_that_take_turns_make_no_run_twice(tmp_path: Path, make_record: Make) -> None:
    """The sender of a search that was killed may end after the resumed one's has begun."""
    observer = fill(tmp_path, make_record, range(1))
    uri = default_uri(tmp_path)
    first, second = (
        Drain(TrackingJournal(journal_path(tmp_path)), uri, artifact_root(uri, tmp_path))
        for _ in range(2)
    )
    for number, drain in enumerate((first, second, first, second), start=1):
        observer.job_ended(make_record(number))
        drain()
        assert drain.n_unsent() == 0
    assert set(picture(uri)) == {"s1", *(f"s1.t{number:03d}" for number in range(5))}
