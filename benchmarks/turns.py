"""Runs programs side by side, each by turns: a machine whose speed drifts drifts for all alike.

Two runs one after the other differ by tens of per cent on a machine that is shared with others,
and by a few thousandths when each has the whole machine for half a second in turn.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

__all__ = ["Turn", "active_s", "take_turns"]

Turn = tuple[float, float]
"""Begin and end of a turn, in seconds of ``time.perf_counter``, which all processes share."""


def take_turns(
    processes: Sequence[subprocess.Popen[bytes]], slice_s: float = 0.5
) -> list[list[Turn]]:
    """Lets one process after the other run, with all that it has started, until all have ended.

    Args:
        processes: Started a moment ago.
        slice_s: Seconds of a turn; the last one still at work is not stopped any more.

    Returns:
        The turns of each process.
    """
    turns: list[list[Turn]] = [[] for _ in processes]
    seen: list[set[psutil.Process]] = [set() for _ in processes]
    try:
        for process, tree in zip(processes, seen, strict=True):
            _signal_tree(process, signal.SIGSTOP, tree)
        while alive := [i for i, process in enumerate(processes) if process.poll() is None]:
            for i in alive:
                began = time.perf_counter()
                _signal_tree(processes[i], signal.SIGCONT, seen[i])
                with suppress(subprocess.TimeoutExpired):
                    processes[i].wait(None if len(alive) == 1 else slice_s)
                turns[i].append((began, time.perf_counter()))
                _signal_tree(processes[i], signal.SIGSTOP, seen[i])
    finally:
        for process, tree in zip(processes, seen, strict=True):
            _signal_tree(process, signal.SIGCONT, tree)
    return turns


def active_s(turns: Sequence[Turn], begin: float, end: float) -> float:
    """Returns the seconds between two moments in which the process had its turn."""
    return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in turns)


def _signal_tree(
    process: subprocess.Popen[bytes], number: signal.Signals, seen: set[psutil.Process]
) -> None:
    """Sends a signal to a process and to whatever it has started, until nothing new turns up.

    Args:
        process: The process.
        number: The signal.
        seen: All that were found below it so far; a process whose parent has died is still told.
    """
    told: set[psutil.Process] = set()
    while True:
        with suppress(psutil.NoSuchProcess):
            if process.poll() is None:
                root = psutil.Process(process.pid)
                seen.update([root, *root.children(recursive=True)])
        if not (new := seen - told):
            return
        for one in new:
            told.add(one)
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
