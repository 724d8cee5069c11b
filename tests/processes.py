"""Looks at processes that may end while they are looked at, and waits for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

__all__ = ["commands", "is_gone", "listening", "running_below", "wait_until"]


def is_gone(process: psutil.Process | int) -> bool:
    """Returns whether it, or the one of this number, has ended; a zombie is gone too."""
    try:
        known = psutil.Process(process) if isinstance(process, int) else process
        return bool(known.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def running_below(pid: int) -> list[psutil.Process]:
    """Returns all processes below ``pid`` that run."""
    found = psutil.Process(pid).children(recursive=True)
    return [process for process in found if not is_gone(process)]


def commands(processes: Iterable[psutil.Process]) -> list[str]:
    """Returns the command lines of those that run."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a zombie is one of them
            found.append(" ".join(process.cmdline()))
    return found


def listening(processes: Iterable[psutil.Process], port: int | None = None) -> set[str]:
    """Returns the addresses at which they listen, at any port or at this one."""
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found |= {
                connection.laddr.ip
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN and port in (None, connection.laddr.port)
            }
    return found


def wait_until(condition: Callable[[], object]) -> None:
    """Returns when ``condition`` holds; fails if it does not for minutes."""
    give_up_at = time.monotonic() + 240
    while not condition():
        if time.monotonic() > give_up_at:
            raise AssertionError("it does not come")
        time.sleep(0.02)
