"""Signs of life, and what a user is told when there are none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from energytune.errors import TrackingError
from energytune.tracking.client import answers, open_client, tracking_errors
from tests.mlflow_server import black_hole
from tests.postgres import free_port


@contextmanager
def web_server(status: int) -> Iterator[str]:
    """Says that it is well, and answers everything else with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else status)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "alive"), [(200, True), (401, True), (403, True), (404, True), (500, False)]
)
def test_a_server_lives_if_its_database_does(status: int, alive: bool) -> None:
    with web_server(status) as url:
        assert answers(url, 20) is alive
        assert answers(url.replace("//", "//me:secret@"), 20) is alive


def test_nobody_there_and_nobody_answering_are_no_sign_of_life() -> None:
    assert not answers(f"http://127.0.0.1:{free_port()}", 20)
    with black_hole() as url:
        assert not answers(url, 0.05)


def test_a_database_lives_if_its_port_does() -> None:
    assert answers("sqlite:////nowhere/mlflow.db", 0.01)
    assert not answers(f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/mlflow", 20)
    with black_hole() as url:
        assert answers(url.replace("http", "postgresql+psycopg2") + "/mlflow", 20)


def test_what_mlflow_says_is_told_shortly_and_without_passwords() -> None:
    uri = "http://me:secret@host:5000"
    told = {
        "API request to endpoint /x failed with error code 401 != 200.": "MLFLOW_TRACKING_USERNAME",
        "API request to endpoint /x failed with error code 403 != 200.": "permission EDIT",
        "API request failed with exception HTTPConnectionPool(host='h', port=1): Max retries "
        "exceeded (Caused by NewConnectionError(...))": "can't be reached any more",
        "API request failed with exception HTTPConnectionPool(host='h', port=1): Read timed out.": (
            "did not answer in time"
        ),
        "could not connect to postgresql://me:secret@host/db": "://***@host/db",
    }
    for text, wanted in told.items():
        with pytest.raises(TrackingError) as caught, tracking_errors(uri):
            raise RuntimeError(text)
        assert wanted in str(caught.value)
        assert "energytune sync" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert "Pool" not in str(caught.value)


def test_a_dead_server_is_told_at_once() -> None:
    with pytest.raises(TrackingError, match="can't be reached"):
        open_client(f"http://127.0.0.1:{free_port()}")
