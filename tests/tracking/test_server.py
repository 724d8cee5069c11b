"""Real MLflow servers: the UI's launcher, and one that is killed in the middle of a search."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from energytune.errors import ResourceError, TrackingError
from energytune.tracking import server as server_module
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.links import deep_link
from energytune.tracking.names import UID_TAG
from energytune.tracking.observer import TrackingObserver
from energytune.tracking.resend import sync
from energytune.tracking.sender import Sender
from energytune.tracking.server import serve_ui, start_ui
from energytune.tracking.store import default_uri, journal_path
from energytune.trial import TrialRecord
from tests.processes import is_gone, listening, running_below


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120) as r:
            return int(r.status)
    except urllib.error.HTTPError as failure:
        return failure.code


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::"])
def test_another_host_is_refused_without_a_password(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_AUTH_CONFIG_PATH", raising=False)
    with pytest.raises(TrackingError, match="without a password"):
        start_ui("sqlite:////nowhere/mlflow.db", host=host)


def test_a_folder_without_a_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no MLflow store"):
        serve_ui(default_uri(tmp_path))


class RunningServer:
    """A server that answers and runs until it is stopped; ``meanwhile`` is done as it starts."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.url, self.process, self._meanwhile = "http://127.0.0.1:1", self, meanwhile
        self.is_stopped = False

    def wait_until_ready(self) -> None:
        self._meanwhile()

    def poll(self) -> None:
        return None

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.is_stopped = True


def test_ctrl_c_that_python_loses_in_a_callback_ends_the_ui(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))

    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:  # until the exception is raised here
            pass

    def lose_an_interrupt() -> None:
        held = {"an object"}
        kept = weakref.ref(held, interrupt)
        del held
        assert kept() is None

    server = RunningServer(lose_an_interrupt)
    monkeypatch.setattr(server_module, "start_ui", lambda *a, **k: server)
    monkeypatch.setattr(server_module, "find_pages", lambda url: [])
    default_store = tmp_path / "mlflow.db"
    default_store.touch()
    said: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a program begins
    try:
        serve_ui(f"sqlite:///{default_store}", say=said.append)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert lost == [KeyboardInterrupt]
    assert said[-1] == "Stopping MLflow."
    assert server.is_stopped


@pytest.mark.integration
def test_the_ui_answers_this_machine_only_and_is_gone_after_stop(
    tmp_path: Path, make_record: Callable[..., TrialRecord]
) -> None:
    observer = TrackingObserver(
        TrackingJournal(journal_path(tmp_path)), "s1", "digits", "digits-mlp", {}
    )
    observer.job_ended(make_record(0))
    uri = sync(tmp_path).uri
    with start_ui(uri) as server:
        server.wait_until_ready()
        port = int(server.url.rsplit(":", 1)[1])
        processes = [psutil.Process(server.process.pid), *running_below(server.process.pid)]
        assert listening(processes, port) == {"127.0.0.1"}
        page = f"{server.url}/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name="
        page += "energytune-digits"
        assert status(page) == 200
        for host in ("evil.com", "10.evil.com", f"10.evil.com:{port}", "127.0.0.1:1", "10.0.0.1"):
            assert status(page, Host=host) == 403, host
        with pytest.raises(ResourceError, match="can't be used"):
            start_ui(uri, port=port)
        experiment = MlflowClient(server.url).get_experiment_by_name("energytune-digits")
        assert status(deep_link(server.url, experiment.experiment_id, "s1")) == 200
    assert all(is_gone(process) for process in processes)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url, timeout=2)


@pytest.mark.integration
def test_a_server_killed_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path,
    make_record: Callable[..., TrialRecord],
    capfd: pytest.CaptureFixture[str],
) -> None:
    run, store = tmp_path / "run", default_uri(tmp_path / "server")
    journal = TrackingJournal(journal_path(run))
    observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {"ft_epochs": 20})
    with start_ui(store) as server:
        server.wait_until_ready()
        port = int(server.url.rsplit(":", 1)[1])
        sender = Sender(journal, server.url, interval_s=0.05).start()
        seen = MlflowClient(store)
        for number in range(12):
            observer.job_ended(make_record(number))
            if number == 5:
                give_up_at = time.monotonic() + 240
                while not _n_runs(seen):
                    assert time.monotonic() < give_up_at, "nothing comes to the server"
                    time.sleep(0.05)
                os.killpg(server.process.pid, signal.SIGKILL)
    observer.finish()
    with open(journal.path, "a") as file:
        file.write('{"kind":"log","uid":"s1","met')  # and the driver dies in a write
    assert sender.stop(60) > 0
    assert sender.problem is not None
    with pytest.raises(TrackingError, match="can't be reached"):
        sync(run)
    assert 0 < _n_runs(seen) < 13
    with start_ui(store, port=port) as again:
        again.wait_until_ready()
        results = [sync(run) for _ in range(3)]
        assert {r.n_runs for r in results} == {13}
        assert results[0].rejected == {}
    assert "".join(capfd.readouterr()) == "", "a live display would be torn"
    assert _n_runs(seen) == 13
    experiment = seen.get_experiment_by_name("energytune-digits").experiment_id
    for found in seen.search_runs([experiment]):
        assert found.info.status == "FINISHED"
        if found.data.tags[UID_TAG] != "s1":
            history = seen.get_metric_history(found.info.run_id, "ft/valid_acc")
            assert sorted(m.step for m in history) == list(range(1, 21))


def _n_runs(client: MlflowClient) -> int:
    experiment = client.get_experiment_by_name("energytune-digits")
    return len(client.search_runs([experiment.experiment_id])) if experiment else 0
