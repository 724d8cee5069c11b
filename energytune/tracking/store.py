"""Where a search's tracking data lie, and the default store: SQLite in the run folder.

MLflow runs all its schema migrations when a new SQLite file is first touched (3 s of CPU on a
quiet machine, over 10 s on a busy one). They are run once a user and MLflow version, into a
template that is cached and copied. Folders are made with mode 0700: run data are the user's own.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from energytune.paths import cache_dir

__all__ = [
    "artifact_root",
    "default_uri",
    "journal_path",
    "locked",
    "prepare_sqlite",
    "sqlite_path",
]

_MIGRATE = """
import logging, sys
logging.disable(logging.WARNING)
from mlflow import MlflowClient
MlflowClient(tracking_uri=sys.argv[1]).search_experiments(max_results=1)
"""


def journal_path(run_folder: Path | str) -> Path:
    """Returns the tracking journal of a run folder."""
    return Path(run_folder).absolute() / "tracking.jsonl"


def default_uri(run_folder: Path | str) -> str:
    """Returns the absolute SQLite URI of a run folder's own store."""
    return f"sqlite:///{Path(run_folder).absolute() / 'mlflow.db'}"


def artifact_root(uri: str, run_folder: Path | str) -> Path | None:
    """Returns the folder for artifacts: beside a SQLite file, None where a server decides.

    For another database that is used without a server it is in the run folder.
    """
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    path = sqlite_path(uri)
    return (path.parent if path else Path(run_folder).absolute()) / "mlartifacts"


def sqlite_path(uri: str) -> Path | None:
    """Returns the absolute path of a ``sqlite:///`` URI's file, None for any other URI."""
    hit = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(hit[1]).absolute() if hit else None


def prepare_sqlite(path: Path) -> None:
    """Makes a migrated store at ``path`` unless there is a file; safe to call from many processes.

    Raises:
        OSError: The folder can't be written.
    """
    if path.exists() and path.stat().st_size:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists() and path.stat().st_size:
            return
        part = path.with_name(f".{path.name}.part")
        shutil.copyfile(_template(), part)
        part.chmod(0o600)
        with closing(sqlite3.connect(part)) as store, store:
            # the template's own default experiment points into a folder that is gone
            where = str(path.parent / "mlartifacts" / "0")
            store.execute("UPDATE experiments SET artifact_location = ?", (where,))
        part.rename(path)


@contextmanager
def locked(path: Path, *, wait: bool = True, timeout_s: float = 0.0) -> Iterator[bool]:
    """Holds a lock file between processes; yields whether it is held.

    Args:
        path: The file; its folder is made.
        wait: Whether to wait as long as it takes.
        timeout_s: If not, how long, seconds.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_up_at = time.monotonic() + timeout_s
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    break
                time.sleep(0.1)
            else:
                yield True
                return
    yield False


def _template() -> Path:
    """Returns the cached empty store of this MLflow version, making it when it is missing."""
    folder = cache_dir() / "mlflow"
    template = folder / f"store-{importlib.metadata.version('mlflow')}.db"
    if template.exists():
        return template
    with locked(folder / ".lock"):
        if not template.exists():
            for left in folder.glob("tmp*"):  # by one that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="tmp", dir=folder) as scratch:
                fresh = Path(scratch) / "fresh.db"
                environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
                # a process of its own: no open connection and no log line stays behind
                subprocess.run(
                    [sys.executable, "-c", _MIGRATE, f"sqlite:///{fresh}"],
                    check=True,
                    capture_output=True,
                    cwd=scratch,
                    env=environment,
                )
                packed = Path(scratch) / "packed.db"
                with closing(sqlite3.connect(fresh)) as store:
                    store.execute("VACUUM INTO ?", (str(packed),))
                packed.rename(template)
    return template
