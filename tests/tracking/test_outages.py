"""Whole searches while MLflow's server, or its database, is killed, comes back, or hangs."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import energytune.search.tracked as tracked
from energytune.config import SearchConfig, SearchSpace
from energytune.search.result import TuneResult
from energytune.search.run import run_search
from energytune.tracking import Patience, Sender, TrackingObserver, default_uri, sync
from energytune.trial import TrialRecord
from tests.mlflow_server import MortalServer, black_hole
from tests.postgres import PostgresServer, postgres_server  # noqa: F401 - a fixture
from tests.tracking.whole_store import check_against, picture

pytestmark = pytest.mark.integration
MAX_BLOCKED_S = 2.0


class Clock:
    """Sums up how long tracking holds the thread that drives the search.

    Time in which that thread could have run and had no core is the machine's, not tracking's.

    Attributes:
        held_s: In calls of tracking, the end of the search with all its waiting included.
        blocked_s: The same, but of the waiting at the end only what was for a server that did
            not answer; while it does, the search's last runs and its model are on their way.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held_s = self._waited_s = 0.0
        self._patiences: list[Patience] = []
        self._driver, self._is_inside = threading.get_ident(), False
        observes = ("__init__", "job_started", "job_progress", "job_ended", "finish")
        sends = ("start", "send_now", "drain", "register", "find_parent", "close")
        for owner, names in {TrackingObserver: observes, Sender: sends}.items():
            for name in names:
                monkeypatch.setattr(owner, name, self._timed(getattr(owner, name)))
        monkeypatch.setattr(Patience, "wait", self._waiting(Patience.wait))

    @property
    def blocked_s(self) -> float:
        silent_s = sum(patience.spent_s for patience in self._patiences)
        return self.held_s - self._waited_s + min(silent_s, self._waited_s)

    def _timed(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **more: Any) -> Any:
            if threading.get_ident() != self._driver or self._is_inside:
                return inner(*args, **more)
            before, self._is_inside = _without_queueing_s(), True
            try:
                return inner(*args, **more)
            finally:
                self._is_inside = False
                self.held_s += _without_queueing_s() - before

        return outer

    def _waiting(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(patience: Patience, *args: Any) -> Any:
            before = _without_queueing_s()
            if patience not in self._patiences:
                self._patiences.append(patience)
            try:
                return inner(patience, *args)
            finally:
                self._waited_s += _without_queueing_s() - before

        return outer


def _without_queueing_s() -> float:
    """Wall-clock seconds less those in which this thread waited for a core."""
    waited_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic() - 1e-9 * waited_ns


class Killer:
    """Told of ended trials; at random ones of them it waits until MLflow holds runs, and strikes.

    Args:
        strike: What to do.
        settle: Returns when the last strike is over.
        seed: Of the choice.
        n_strikes: How often.
    """

    def __init__(
        self, strike: Callable[[], None], settle: Callable[[], None], seed: int, n_strikes: int
    ) -> None:
        self._strike, self._settle = strike, settle
        self._numbers = set(random.Random(seed).sample(range(3, 48), n_strikes))
        self._n_ended = 0

    def job_started(self, job: object) -> None: ...

    def job_progress(self, job: object, events: object) -> None: ...

    def job_ended(self, record: TrialRecord) -> None:
        self._n_ended += 1
        if self._n_ended in self._numbers:
            self._settle()
            time.sleep(0.4)  # one or two rounds of the sender
            self._strike()


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., SearchConfig]:
    def make(uri: str | None, **changes: Any) -> SearchConfig:
        space = SearchSpace.model_validate(
            {
                "name": "quick",
                "tau": {"low": 0, "high": 16},
                "head_arch": {"choices": ["linear", "mlp"]},
                "label_smoothing": {"low": 0.0, "high": 0.3, "step": 0.15},
                "ft_lr": {"low": 0.003, "high": 0.05, "default": 0.02},
                "finetune": {"epochs": 3, "patience": None},
            }
        )
        settings: dict[str, Any] = {
            "dataset": "digits",
            "space": space,
            "n_trials": 50,
            "n_confirm_seeds": 1,
            "n_confirm_recipes": 2,
            "sampler": "random",
            "out": tmp_path / "run",
            "concurrency": 2,
            "tracking_uri": uri,
            **changes,
        }
        return SearchConfig.model_validate(settings)

    return make


@pytest.fixture(autouse=True)
def _eager_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the sender work all the time, so that a kill meets it at work."""
    monkeypatch.setattr(tracked, "Sender", partial(Sender, interval_s=0.2))


@pytest.fixture
def kill_at_registration(monkeypatch: pytest.MonkeyPatch) -> list[MortalServer]:
    """The servers in this list are killed while the winner is being registered."""
    victims: list[MortalServer] = []
    register, finish = Sender.register, tracked.TrackedSearch.finish

    def when_it_is_there(self: Any, *args: Any) -> Any:
        for victim in victims:
            victim.settle()
        return finish(self, *args)

    def and_kill(*args: Any, **more: Any) -> Any:
        for victim in victims:
            victim.kill(within_s=1.0, down_s=4.0)
        return register(*args, **more)

    monkeypatch.setattr(tracked.TrackedSearch, "finish", when_it_is_there)
    monkeypatch.setattr(Sender, "register", and_kill)
    return victims


def search_id_of(run: Path) -> str:
    return str(json.loads((run / "search.json").read_text())["search_id"])


def sync_elsewhere(run: Path) -> subprocess.Popen[str]:
    """Starts ``energytune sync`` in a process of its own."""
    code = "from energytune.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "sync", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )


def check_the_store(run: Path, result: TuneResult, store: str) -> None:
    """Syncs three times, once of them twice at a time, and looks at all that the store holds.

    It is read without the server, which takes 20 ms for each of a thousand curves.
    """
    with open(run / "tracking.jsonl", "a") as journal:
        journal.write('{"kind":"log","uid":"x","met')  # and the machine stops in a write
    first = sync(run)
    assert first.rejected == {}
    assert first.n_unreadable == 0
    held = picture(store)
    check_against(held, result, search_id_of(run))
    (version,) = held["versions"].values()
    assert held["n_logged_models"] == 1
    assert version["uid"] == version["run"]
    assert version["uid"] in held["runs"]
    assert version["aliases"] == ["champion"]
    assert any(name.endswith(".safetensors") for name in version["files"])
    assert "records.jsonl" in held["runs"][search_id_of(run)]["files"]

    sync(run)
    assert picture(store) == held

    both = [sync_elsewhere(run), sync_elsewhere(run)]
    told = [process.communicate(timeout=900) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert picture(store) == held

    # what a store holds to which nothing ever happened
    quiet = run.parent / "quiet"
    shutil.copytree(run, quiet)
    undisturbed = picture(sync(quiet, default_uri(quiet)).uri)
    assert undisturbed["runs"] == held["runs"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_server_killed_at_random_loses_and_doubles_nothing(
    database: str,
    ray_session: None,
    make_config: Callable[..., SearchConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kill_at_registration: list[MortalServer],
) -> None:
    if database == "sqlite":
        store = default_uri(tmp_path / "server")
    else:
        store = request.getfixturevalue("postgres_server").database()
    server = MortalServer(store, tmp_path / "server" / "artifacts", seed=len(database))
    with server:
        kill_at_registration.append(server)
        killer = Killer(server.kill, server.settle, seed=len(database), n_strikes=4)
        clock = Clock(monkeypatch)
        result = run_search(make_config(server.url), observers=[killer])
        assert len(result.records) == 50
        assert result.winner is not None
        server.settle()
        assert server.n_kills >= 4
        print(f"blocked {clock.blocked_s:.3f} s of {clock.held_s:.3f}; {result.tracking.warning}")
        assert clock.blocked_s < MAX_BLOCKED_S
        check_the_store(tmp_path / "run", result, server.store)


def test_postgresql_killed_at_random_loses_and_doubles_nothing(
    ray_session: None,
    make_config: Callable[..., SearchConfig],
    postgres_server: PostgresServer,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strike() -> None:
        postgres_server.kill()
        time.sleep(1.0)
        postgres_server.start()

    with MortalServer(postgres_server.database(), tmp_path / "artifacts") as server:
        killer = Killer(strike, lambda: None, seed=3, n_strikes=4)
        clock = Clock(monkeypatch)
        result = run_search(make_config(server.url), observers=[killer])
        print(f"blocked {clock.blocked_s:.3f} s of {clock.held_s:.3f}; {result.tracking.warning}")
        assert clock.blocked_s < MAX_BLOCKED_S
        check_the_store(tmp_path / "run", result, server.store)


def test_a_server_that_never_answers_holds_nobody_up(
    ray_session: None,
    make_config: Callable[..., SearchConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    with black_hole() as url:
        result = run_search(make_config(url, n_trials=8))
    print(f"blocked {clock.held_s:.3f} s; {result.tracking.warning}")
    assert clock.held_s < MAX_BLOCKED_S
    assert result.winner is not None
    assert result.registered is None
    assert result.tracking.n_unsent > 0
    assert "energytune sync" in str(result.tracking.warning)
    sent = sync(tmp_path / "run", default_uri(tmp_path / "later"))
    assert sent.model is not None
    check_against(picture(sent.uri), result, search_id_of(tmp_path / "run"))


def test_a_full_disk_is_told_and_the_search_goes_on(
    ray_session: None,
    make_config: Callable[..., SearchConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, n_writes = os.write, 0

    def full_after_some(descriptor: int, data: bytes) -> int:
        nonlocal n_writes
        if data.startswith((b'{"kind":', b'\n{"kind":')):
            n_writes += 1
            if n_writes > 6:
                real(descriptor, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full_after_some)
    result = run_search(make_config(None, n_trials=6))
    assert n_writes > 6
    assert result.winner is not None
    assert len(result.records) == 6
    warning = str(result.tracking.warning)
    assert "journal could not be written" in warning
    assert "No space left on device" in warning
    assert "records.jsonl" in warning
    assert "Nothing is lost" not in warning
