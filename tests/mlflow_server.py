"""MLflow servers for tests that die, come back, or accept and never answer."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from energytune.tracking import UiServer, start_ui
from tests.postgres import free_port

__all__ = ["MortalServer", "black_hole"]


class MortalServer:
    """A real ``mlflow server`` on a fixed port that can be killed and comes back.

    Args:
        store: The database behind it.
        artifacts: Folder for artifacts.
        seed: Of the random pauses.
    """

    def __init__(self, store: str, artifacts: Path, seed: int = 0) -> None:
        self.store, self.port, self.n_kills = store, free_port(), 0
        self.url = f"http://127.0.0.1:{self.port}"
        self._artifacts, self._random = artifacts, random.Random(seed)
        self._server: UiServer | None = None
        self._reviver: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Starts it and returns when it answers."""
        self._server = start_ui(self.store, self._artifacts, port=self.port)
        self._server.wait_until_ready(600.0)

    def kill(self, within_s: float = 0.5, down_s: float = 2.0) -> None:
        """Kills all its processes after a random pause, and starts it again after another.

        Returns at once; :meth:`settle` waits until it is there again.
        """
        self.settle()
        before_s, after_s = self._random.uniform(0, within_s), self._random.uniform(0, down_s)
        self._reviver = threading.Thread(target=self._die, args=(before_s, after_s), daemon=True)
        self._reviver.start()

    def settle(self) -> None:
        """Returns when the server is there again after a kill."""
        if self._reviver is not None:
            self._reviver.join()
            self._reviver = None
        if self._failure is not None:
            raise self._failure

    def die(self) -> None:
        """Kills it for good."""
        self.settle()
        if self._server is not None:
            os.killpg(self._server.process.pid, signal.SIGKILL)
            self._server.stop()  # reaps it, and removes its log
            self._server = None

    def __enter__(self) -> MortalServer:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.die()

    def _die(self, before_s: float, after_s: float) -> None:
        pause = threading.Event()
        try:
            pause.wait(before_s)
            if self._server is not None:
                os.killpg(self._server.process.pid, signal.SIGKILL)
                self._server.stop()
                self.n_kills += 1
            pause.wait(after_s)
            self.start()
        except BaseException as failure:  # raised by whoever waits
            self._failure = failure


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A server that accepts connections and never answers; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)  # the kernel accepts for it
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
