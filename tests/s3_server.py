"""An S3-compatible store on this machine, with one bucket."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BUCKET", "s3_server"]

BUCKET = "shared"


@contextmanager
def s3_server() -> Iterator[str]:
    """Starts a server; gives its ``host:port``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", place.partition(":")[2]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _make_bucket(place)
        yield place
    finally:
        server.terminate()
        server.wait()


def _make_bucket(place: str) -> None:
    failure: OSError | None = None
    for _ in range(600):
        try:
            request = urllib.request.Request(f"http://{place}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=5).close()
        except OSError as error:
            failure = error
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no S3 server at {place}: {failure}")
