"""Starts MLflow's own UI on a store, for this machine only, and stops it with all its children."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType

from energytune.errors import ResourceError, TrackingError
from energytune.paths import cache_dir
from energytune.redact import redact, without_login
from energytune.tracking.pages import find_pages
from energytune.tracking.statistics import refresh_statistics
from energytune.tracking.store import (
    artifact_root,
    locked,
    prepare_sqlite,
    sqlite_path,
)

__all__ = ["UiServer", "serve_ui", "start_ui"]

_LOOPBACK = ("127.0.0.1", "localhost")
_SAY = partial(print, flush=True)
_LOOK_S = 0.5
"""Between two looks whether the server is still there."""
_LIFELINE = """
import os, runpy, signal, sys, threading

def watch():
    while os.read(0, 1):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)

threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "mlflow"
runpy.run_module("mlflow", run_name="__main__")
"""
"""MLflow's command line, which ends with its whole process group when its standard input does.
That is a pipe that the launcher holds: not even ``kill -9`` of the launcher leaves a server."""


class UiServer:
    """A running server; a context manager that stops it.

    Attributes:
        url: Its address, without a slash at the end.
        process: The server's first process, leader of a process group of its own.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, reservation: ExitStack
    ) -> None:
        self.process, self.url, self._log = process, url, log
        self._reservation = reservation

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        """Returns when the server answers.

        Raises:
            TrackingError: It ended, or does not answer in time; with the end of its log.
        """
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()
            except OSError:
                time.sleep(0.2)
            else:
                if self.process.poll() is None:
                    return
        tail = redact(self._log.read_text(errors="replace")).strip()[-600:]
        self.stop()
        raise TrackingError(f"MLflow's server did not start at {self.url}. It says:\n{tail}")

    def stop(self) -> None:
        """Stops the server and its children; they are gone when this returns."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(self.process.pid, sign)
            give_up_at = time.monotonic() + 10.0
            while time.monotonic() < give_up_at:
                self.process.poll()  # reaps the leader, which else keeps its group alive
                if not _signal_group(self.process.pid, 0):
                    break
                time.sleep(0.05)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        self._reservation.close()
        shutil.rmtree(self._log.parent, ignore_errors=True)

    def __enter__(self) -> UiServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_ui(
    store: str, artifacts: Path | None = None, *, host: str = "127.0.0.1", port: int | None = None
) -> UiServer:
    """Starts MLflow's server on a database and returns at once.

    It listens on this machine only and answers only requests that name this address: the
    library's own patterns would let any web page read the store by DNS rebinding. One worker, no
    job execution, no telemetry: half the memory.

    Args:
        store: ``sqlite:///`` or another database URL.
        artifacts: Folder for artifacts; None puts it beside a SQLite file.
        host: Address to listen on. Another than this machine's needs ``MLFLOW_AUTH_CONFIG_PATH``
            and MLflow's basic authentication.
        port: Port; 0 takes a free one, None takes 5000, or a free one if that is taken.

    Raises:
        TrackingError: The host is refused, or the store is a server already.
        ResourceError: The port is taken.
    """
    auth = _check_host(host)
    if store.startswith(("http://", "https://")):
        raise TrackingError(f"{redact(store)} is a server already: open it in a browser.")
    path = sqlite_path(store)
    if path is not None:
        prepare_sqlite(path)
        refresh_statistics(store)
        store = f"sqlite:///{path}"
    reservation = ExitStack()
    port = _choose_port(host, port, reservation)
    root = (artifacts or artifact_root(store, Path.cwd()) or Path.cwd()).absolute()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = dict.fromkeys((host, *_LOOPBACK)) if host in _LOOPBACK else {host: None}
    log = Path(tempfile.mkdtemp(prefix="energytune-ui-")) / "server.log"
    arguments = {
        "--host": host,
        "--port": str(port),
        "--workers": "1",
        "--allowed-hosts": ",".join(f"{name}:{port}" for name in names),
        "--cors-allowed-origins": ",".join(f"http://{name}:{port}" for name in names),
        "--default-artifact-root": str(root),
        "--artifacts-destination": str(root),
    }
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store,  # not an argument: it may hold a password
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-c", _LIFELINE, "server", *sum(arguments.items(), ())]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*command, *(["--app-name", "basic-auth"] if auth else [])],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
        )
    return UiServer(process, f"http://{host}:{port}", log, reservation)


def serve_ui(
    uri: str,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    say: Callable[[str], None] = _SAY,
) -> None:
    """Shows a store until Ctrl-C; tells its address and a link to each of the latest searches.

    Args:
        uri: Tracking URI. A server that runs already is only linked to.
        host: See :func:`start_ui`.
        port: Port; if it is taken, a free one is found and told.
        open_browser: Whether to open the latest search, or the start page if there is none.
        say: Takes what is told, line by line.

    Raises:
        TrackingError: There is no store, or the server does not start or answer.
    """
    if uri.startswith(("http://", "https://")):
        say(f"MLflow: {without_login(uri)}")
        _tell_pages(uri, open_browser, say)
        return
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(
            f"There is no MLflow store at {path}. Name the folder of a search (its --out), or run "
            "`energytune sync` on it first."
        )
    try:
        server = start_ui(uri, host=host, port=port)
    except ResourceError as taken:
        say(f"{str(taken).split(' Name')[0]} A free one is taken instead.")
        server = start_ui(uri, host=host, port=0)
    with server, _interrupts() as is_interrupted:
        try:
            server.wait_until_ready()
            say(f"MLflow: {server.url}   (Ctrl-C stops it)")
            _tell_pages(server.url, open_browser, say)
            while server.process.poll() is None:
                if is_interrupted.wait(_LOOK_S):
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            say("Stopping MLflow.")


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Yields what Ctrl-C sets beside raising its exception.

    That is lost where Python can't raise one, as in the callback of a lock of an import. Whoever
    has another handler, or none, keeps it.
    """
    pressed = threading.Event()
    usual = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not usual:
        yield pressed
        return

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, usual)


def _tell_pages(url: str, open_browser: bool, say: Callable[[str], None]) -> None:
    pages = find_pages(url)
    for page in pages:
        say(f"\n{page.title}")
        for what, link in page.links.items():
            say(f"  {what:<9}{link}")
    if open_browser:
        webbrowser.open(next((next(iter(p.links.values())) for p in pages), url))


def _check_host(host: str) -> bool:
    """Returns whether basic authentication is used; refuses an open server."""
    if host in _LOOPBACK:
        return False
    if os.environ.get("MLFLOW_AUTH_CONFIG_PATH") and importlib.util.find_spec("flask_wtf"):
        return True
    raise TrackingError(
        f"MLflow without a password is not started on {host!r}: whoever reaches it could write "
        "files on this machine. Use --host 127.0.0.1 (and ssh -L from elsewhere), or install "
        "mlflow[auth], write a basic-auth configuration and name it in MLFLOW_AUTH_CONFIG_PATH."
    )


def _choose_port(host: str, port: int | None, reservation: ExitStack) -> int:
    """Returns a port that nobody listens on; 5000 is left to another launcher that starts up.

    A server takes seconds until it listens. A second launcher that starts meanwhile would find
    the same port free, and then take the first one's server for its own.
    """
    problem = ""
    for candidate in (5000, 0) if port is None else (port,):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, candidate))
                chosen = int(probe.getsockname()[1])
        except OSError as failure:
            problem = str(failure)
            continue
        lock = cache_dir() / "mlflow" / f"port-{chosen}.lock"
        if reservation.enter_context(locked(lock, wait=False)):
            return chosen
        problem = "another `energytune ui` has it"
    raise ResourceError(
        f"Port {port} on {host} can't be used ({problem}). Name another one with --port."
    )


def _signal_group(group: int, sign: int) -> bool:
    """Signals a process group; returns whether anything of it is left."""
    try:
        os.killpg(group, sign)
    except (ProcessLookupError, PermissionError):
        return False
    return True
