"""A server on this machine in place of the addresses that data come from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, contents: dict[str, bytes], *args) -> None:
        self.contents = contents
        super().__init__(*args)

    def do_GET(self) -> None:
        content = self.contents.get(self.path.removeprefix("/"))
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    do_HEAD = do_GET

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Serves files by name, and returns the address that names are put behind."""
    servers = []

    def start(contents: dict[str, bytes]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, contents))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
