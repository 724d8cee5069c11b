from __future__ import annotations

import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energytune.tracking.store import (
    artifact_root,
    default_uri,
    locked,
    prepare_sqlite,
    sqlite_path,
)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:////a/b.db?timeout=3", "/a/b.db"),
        ("sqlite+pysqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///b.db", str(Path("b.db").absolute())),
        ("http://a/b.db", None),
        ("postgresql://u@h/d", None),
    ],
)
def test_sqlite_path(uri: str, path: str | None) -> None:
    assert sqlite_path(uri) == (Path(path) if path else None)


def test_artifacts_lie_beside_the_database_or_where_the_server_decides() -> None:
    assert artifact_root("sqlite:////a/b.db", "/run") == Path("/a/mlartifacts")
    assert artifact_root("postgresql://u@h/d", "/run") == Path("/run/mlartifacts")
    assert artifact_root("http://h:1", "/run") is None


def test_a_lock_is_exclusive_and_given_back(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as held, locked(tmp_path / "lock", wait=False) as second:
        assert (held, second) == (True, False)
    with locked(tmp_path / "lock", wait=False) as third:
        assert third


@pytest.mark.integration
def test_the_default_store_is_made_once_private_and_absolute(tmp_path: Path) -> None:
    path = sqlite_path(default_uri(tmp_path / "run"))
    assert path is not None
    threads = [threading.Thread(target=prepare_sqlite, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as store:
        places = store.execute("SELECT artifact_location FROM experiments").fetchall()
        assert places == [(str(path.parent / "mlartifacts" / "0"),)]
        store.execute("CREATE TABLE mine (x)")
    prepare_sqlite(path)  # one that is there stays as it is
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT count(*) FROM mine").fetchone() == (0,)


def test_what_a_killed_migration_has_left_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def migrate(command: list[str], **_: Any) -> None:
        path = sqlite_path(command[-1])
        assert path is not None
        with closing(sqlite3.connect(path)) as store, store:
            store.execute("CREATE TABLE experiments (artifact_location)")

    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", migrate)
    left = tmp_path / "cache" / "mlflow" / "tmp1234"
    left.mkdir(parents=True)
    (left / "fresh.db").write_bytes(b"torn")
    prepare_sqlite(tmp_path / "run" / "mlflow.db")
    assert (tmp_path / "run" / "mlflow.db").stat().st_size
    (lock, template) = sorted(path.name for path in left.parent.iterdir())
    assert (lock, template[:6]) == (".lock", "store-")
