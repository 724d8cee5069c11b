"""The process of a :class:`energytune.tracking.sender.Sender` from outside: start, tell, kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

__all__ = ["kill", "start_sender", "tell", "works_at_low_priority"]

_BOOT = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from energytune.tracking.sender_process import main; main()"
)
"""With the modules that this process would find, wherever it has them from."""


def start_sender(settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Starts the process, in a group of its own, and tells it its settings.

    Args:
        settings: As of :class:`energytune.tracking.sender_process.SenderProcess`.

    Raises:
        OSError, ValueError: It can't be started, or has ended at once.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT, *(str(path) for path in sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C in the terminal is for the driver
    )
    tell(process, settings)
    return process


def tell(process: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
    """Writes one line to the process.

    Raises:
        OSError, ValueError: It has ended.
    """
    if process.stdin is not None:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the process with all that it has started, unless it has ended."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def works_at_low_priority(pid: int) -> bool:
    """Returns whether a thread of the process has a lower priority than its first one."""
    with suppress(OSError):  # there is no such process, or no such file system
        usual = os.getpriority(os.PRIO_PROCESS, pid)
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):  # it has ended
                if os.getpriority(os.PRIO_PROCESS, int(thread)) > usual:
                    return True
    return False
