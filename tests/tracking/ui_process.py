"""``energytune ui`` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psutil

from tests.processes import running_below

__all__ = ["UiProcess"]

_MAIN = "from energytune.cli.main import main; main()"


class UiProcess:
    """The command, started; a context manager that ends it.

    Args:
        arguments: Behind ``energytune ui``.
        environment: Added to this process's.

    Attributes:
        process: The parent.
        told: What it has printed so far.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, "ui", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self.told: list[str] = []

    def read_until(self, start: str) -> str:
        """Returns the next line that begins with ``start``, without it; fails if it ends first."""
        if self.process.stdout is None:
            raise RuntimeError("the output is not a pipe")
        for line in self.process.stdout:
            self.told.append(line.rstrip("\n"))
            if line.startswith(start):
                return line.removeprefix(start).strip()
        raise AssertionError(f"it ended before it told {start!r}: {self.told}")

    def rest(self) -> str:
        """Waits for its end and returns what it prints until then."""
        return self.process.communicate(timeout=300)[0]

    def children(self) -> list[psutil.Process]:
        """Returns all processes below it that run; the browser that it has opened may be over."""
        return running_below(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.communicate(timeout=300)
