"""One driver at a time: a study says who runs it, and since when it has not been heard of.

Two searches on one study would hand out the same trials twice. A driver writes its name into the
study and a sign of life now and then. Whoever comes second is refused while the first lives, and
takes over once it is dead: at once if it ran on this machine and its process is gone, else after
it has been silent for a while by the newcomer's own clock, so that no clock has to be right.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]
from optuna.study import Study

from energytune.errors import EnergyTuneError, ResourceError

__all__ = ["StudyLease"]

_ATTR = "driver"
_BEAT_S = 10.0
_FIRST_BEAT_S = 1.0
_STALE_S = 45.0
_POLL_S = 1.0
_HELD: set[str] = set()
"""Leases that this process holds: one that could not be given back, on a full disk, is none."""


class StudyLease:
    """Context manager: holds a study for this process.

    Args:
        study: The search's.
        on_wait: Told once, in words, if it has to be watched whether an earlier driver lives.
        beat_s: Seconds between two signs of life.
        stale_s: Silence, in seconds, after which a driver elsewhere counts as dead. All drivers
            must agree on these two.
        machine: Names this machine and its processes' numbers; None finds out.
    """

    def __init__(
        self,
        study: Study,
        *,
        on_wait: Callable[[str], object] = lambda text: None,
        beat_s: float = _BEAT_S,
        stale_s: float = _STALE_S,
        machine: str | None = None,
    ) -> None:
        self._study, self._on_wait = study, on_wait
        self._beat_s, self._stale_s = beat_s, stale_s
        self._id, self._n_beats = uuid.uuid4().hex, 0
        self._machine = machine or _this_machine()
        self._since = int(time.time())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="energytune-lease", daemon=True)
        self.taken_by = ""
        """Who has taken the study over, because this driver was silent for too long; "" if none."""

    def __enter__(self) -> Self:
        """Takes the study.

        Raises:
            ResourceError: Another driver runs it.
        """
        found = self._read()
        if found and self._lives(found):
            raise ResourceError(
                f"The study {self._study.study_name!r} is being run by {_describe(found)}. Two "
                "searches on one study would do the same trials twice: stop that one, or wait "
                "until it has ended."
            )
        self._beat()
        self._check()  # another may have come at the same moment: the one that wrote last has it
        if self.taken_by:
            raise ResourceError(
                f"The study {self._study.study_name!r} was taken by {self.taken_by} at the same "
                "moment. Wait until that search has ended."
            )
        _HELD.add(self._id)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the study back; a storage that can't be written keeps the name of a dead one."""
        _HELD.discard(self._id)
        self._ended.set()
        self._thread.join()
        with suppress(EnergyTuneError, OSError):
            self._check()
            if not self.taken_by:
                self._study.set_user_attr(_ATTR, {})

    def raise_if_lost(self) -> None:
        """Raises if another driver has taken over.

        Raises:
            ResourceError: It has; this one must not go on.
        """
        if self.taken_by:
            raise ResourceError(
                f"The study {self._study.study_name!r} was taken over by {self.taken_by}, since "
                f"this search was silent for {self._stale_s:g} s. It goes on there."
            )

    def _read(self) -> dict[str, Any]:
        found = self._study.user_attrs.get(_ATTR)
        return found if isinstance(found, dict) and found.get("id") else {}

    def _beat(self) -> None:
        self._n_beats += 1
        self._study.set_user_attr(
            _ATTR,
            {
                "id": self._id,
                "host": socket.gethostname(),
                "machine": self._machine,
                "pid": os.getpid(),
                "process_started": _started(os.getpid()),
                "since_s": self._since,
                "n_beats": self._n_beats,
            },
        )

    def _check(self) -> None:
        found = self._read()
        if found and found["id"] != self._id:
            self.taken_by = _describe(found)

    def _run(self) -> None:
        pause_s = min(_FIRST_BEAT_S, self._beat_s)  # soon: two may have come at once
        while not self._ended.wait(pause_s) and not self.taken_by:
            pause_s = self._beat_s
            with suppress(EnergyTuneError, OSError):  # a full disk ends the search elsewhere
                self._check()
                if not self.taken_by:
                    self._beat()

    def _lives(self, found: Mapping[str, Any]) -> bool:
        if found.get("machine") == self._machine:
            if found.get("pid") == os.getpid():
                return found["id"] in _HELD
            started = _started(found.get("pid"))
            return started is not None and started == found.get("process_started")
        self._on_wait(f"waiting up to {self._stale_s:g} s for a sign of life of {_describe(found)}")
        silent_since = time.monotonic()
        while time.monotonic() - silent_since < self._stale_s:
            time.sleep(min(_POLL_S, self._stale_s / 10))
            now = self._read()
            if not now:  # it has ended
                return False
            if now != found:
                return True
        return False


def _this_machine() -> str:
    """Returns what tells this machine, and the space that its process numbers live in."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts.append(file.read().strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return " ".join(parts)


def _started(pid: Any) -> str | None:
    """Returns when a process was started, by no clock that can be set; None if it is gone."""
    try:
        stat = Path(f"/proc/{int(pid)}/stat").read_text()
        state, *rest = stat.rpartition(")")[2].split()  # its name may hold anything
        return None if state == "Z" else rest[18]  # clock ticks since the machine was started
    except (OSError, TypeError, ValueError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        return str(psutil.Process(pid).create_time())
    except (psutil.Error, TypeError, ValueError):
        return None


def _describe(found: Mapping[str, Any]) -> str:
    text = f"process {found.get('pid')} on {found.get('host')}"
    since_s = found.get("since_s")
    if not isinstance(since_s, int):
        return text
    minutes = max(0, int(time.time()) - since_s) // 60
    when = datetime.fromtimestamp(since_s).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text} since {when} ({minutes} minutes)"
