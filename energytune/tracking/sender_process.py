"""The process behind :class:`energytune.tracking.sender.Sender`.

It reads orders from its standard input, JSON lines, the first of which are its settings, and says
how it goes on its standard output, JSON lines too. It ends when its input does.

What it does by itself it does at a low priority: next to a worker it has a tenth of a core, so that
MLflow keeps up with the search. What the driver asks for, and waits for, is done at the
usual priority. On a machine that others keep busy that tenth may be little, and by default only
root may give back what a low priority has taken; so the driver replaces a process that does not
come to its orders (:mod:`energytune.tracking.sender`). Without a driver it replaces itself.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energytune.errors import TrackingError
from energytune.json_text import parse_json
from energytune.redact import redact
from energytune.tracking.drain import Drain
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.statistics import refresh_statistics

__all__ = ["SenderProcess", "main"]

_MAX_PAUSE_S = 60.0
_LAST_S = 120
"""Seconds in which all is done after the driver has gone, or left undone."""
_LAST_LOW_S = 3.0
"""The same for what is done at a low priority; then the process begins again without."""
_LOOK_S = 0.5
"""Between two looks whether the driver is still there."""
_NICENESS = 10
"""Of a low priority, above that of the process: next to one of that, a tenth of a core."""
_MAX_LOAD = 2.0
"""Processes a core above which a low priority is left with too little."""
_WAIT_S = 1.0
"""For the sender of a driver that was killed a moment ago, if it still sends."""


@dataclass(frozen=True)
class _Line:
    """A line from the driver; the last one has no order."""

    order: dict[str, Any] | None


class SenderProcess:
    """Sends one journal, now and then and when it is told to.

    Args:
        settings: ``journal``, ``uri``, ``artifact_root`` and ``interval_s``, as of ``Sender``;
            ``at_low_priority``, whether what is not asked for is done at one.
        said: File descriptor for what is said.
        driver: Its process; when that is gone no more orders come, whoever still holds the pipe.
    """

    def __init__(self, settings: dict[str, Any], said: int, driver: int) -> None:
        self._settings, self._said, self._driver = settings, said, driver
        self._uri = str(settings["uri"])
        self._interval_s = float(settings["interval_s"])
        root = settings["artifact_root"]
        journal = TrackingJournal(settings["journal"])
        self._folder = journal.path.parent
        self._drain = Drain(journal, self._uri, Path(root) if root else None, wait_s=_WAIT_S)
        self._problem: str | None = None
        self._is_warm = False

    def run(self, lines: queue.Queue[_Line]) -> None:
        """Sends until there are no more orders, and then what is left.

        Args:
            lines: From the driver.
        """
        began_s, pause_s = 0.0, 0.0
        while os.getppid() == self._driver:
            try:
                order = lines.get(timeout=max(0.0, began_s + pause_s - time.monotonic())).order
            except queue.Empty:
                began_s = time.monotonic()
                is_sent = self._at_low_priority(self._round, lines)
                pause_s = self._interval_s if is_sent else min(2 * pause_s or 1.0, _MAX_PAUSE_S)
                self._say({})
                if is_sent and not self._is_warm:
                    self._at_low_priority(self._warm_up, lines)
                continue
            if order is None:
                break
            self._obey(order)
        signal.alarm(_LAST_S)
        self._round()

    def _at_low_priority(self, work: Callable[[], bool], lines: queue.Queue[_Line]) -> bool:
        """Returns what ``work`` does, at a low priority unless the machine is busy.

        In a thread of its own, because this one could not go back to the usual priority. Once the
        driver has gone, nobody replaces a process that comes to nothing but itself.
        """
        if not (self._settings["at_low_priority"] and _leaves_room()):
            return work()
        results: list[bool] = []

        def run() -> None:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, os.nice(0) + _NICENESS)  # of this thread
            results.append(work())

        thread = threading.Thread(target=run, name="energytune-round")
        thread.start()
        while thread.is_alive() and os.getppid() == self._driver and not _is_last(lines):
            thread.join(_LOOK_S)
        thread.join(_LAST_LOW_S)
        if thread.is_alive():
            self._begin_again()
        return bool(results and results[0])

    def _begin_again(self) -> None:
        """Becomes a process at the usual priority, without a driver: it sends what is left."""
        reading, writing = os.pipe()
        settings = json.dumps({**self._settings, "at_low_priority": False})
        os.write(writing, settings.encode() + b"\n")
        os.close(writing)
        os.dup2(reading, 0)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _obey(self, order: dict[str, Any]) -> None:
        told: dict[str, Any] = {}
        if order["do"] == "send":
            self._round()
        elif order["do"] == "drain":
            self._send_all(float(order["timeout_s"]))
        else:
            try:
                told = self._register() if order["do"] == "register" else self._find(order)
            except TrackingError as failure:
                told["failure"] = redact(str(failure), self._uri)
            except Exception as failure:  # one that dies would lose the rest silently
                told["failure"] = redact(f"{type(failure).__name__}: {failure}", self._uri)
        self._say({"answers": order["number"], **told})

    def _send_all(self, timeout_s: float) -> None:
        give_up_at = time.monotonic() + timeout_s
        # a second try, because a server may just be starting
        if not self._round() and time.monotonic() + 1 < give_up_at:
            time.sleep(1)
            self._round()
        refresh_statistics(self._uri)

    def _round(self) -> bool:
        try:
            self._drain()
        except Exception as failure:  # whatever a transport or a library raises
            self._problem = redact(str(failure), self._uri) or type(failure).__name__
        else:
            self._problem = None
        return self._problem is None

    def _register(self) -> dict[str, Any]:
        from energytune.tracking.resend import register_noted

        model = register_noted(self._uri, self._folder, wait_s=_WAIT_S)
        return {"registered": None if model is None else model.to_dict()}

    def _find(self, order: dict[str, Any]) -> dict[str, Any]:
        from energytune.tracking.parent import find_parent_run

        link, run_id = find_parent_run(self._uri, order["dataset"], order["search_id"])
        return {"link": link, "run_id": run_id}

    def _warm_up(self) -> bool:
        """Imports what registering needs, so that the end of the search need not wait for it."""
        self._is_warm = True
        with suppress(Exception):  # what is wrong is told when it is needed
            import energytune.tracking.package
            import energytune.tracking.registry  # noqa: F401
        return self._is_warm

    def _say(self, told: dict[str, Any]) -> None:
        line = json.dumps({"problem": self._problem, "cpu_s": time.process_time(), **told})
        with suppress(OSError):  # the driver is gone; that is told by the end of the orders
            os.write(self._said, line.encode() + b"\n")


def _is_last(lines: queue.Queue[_Line]) -> bool:
    """Returns whether the driver has said all it had to say."""
    with lines.mutex:
        return bool(lines.queue) and lines.queue[-1].order is None


def _leaves_room() -> bool:
    """Returns whether a low priority gets something; only Linux has one for a thread alone."""
    is_busy = os.getloadavg()[0] > _MAX_LOAD * (os.cpu_count() or 1)
    return sys.platform == "linux" and not is_busy


def main() -> None:
    """Runs the process: settings and orders from standard input, until it ends."""
    driver = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    said = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    orders = os.fdopen(0, "rb", buffering=0, closefd=False)
    settings = orders.readline()
    if not settings:
        return
    lines: queue.Queue[_Line] = queue.Queue()

    def read() -> None:
        for line in iter(orders.readline, b""):
            lines.put(_Line(parse_json(line)))
        signal.alarm(_LAST_S)
        lines.put(_Line(None))

    threading.Thread(target=read, name="energytune-orders", daemon=True).start()
    SenderProcess(parse_json(settings), said, driver).run(lines)
    os._exit(0)  # nothing is open any more; taking MLflow apart would take longer than all this
