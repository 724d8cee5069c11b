"""Has the journal sent to MLflow by a process of its own while a search runs.

The driver of a search never imports MLflow, which takes seconds of the CPU and holds Python's
interpreter lock while it does: that is done in :mod:`energytune.tracking.sender_process`, at a low
priority. It takes about 250 MB of memory. On a machine that others keep busy it may come to nothing
for minutes: then the driver, when it waits, takes another process in its place.
"""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from energytune.errors import TrackingError
from energytune.json_text import parse_json
from energytune.redact import redact
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.drain import n_unsent, remember_uri
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.patience import Patience
from energytune.tracking.sender_child import kill, start_sender, tell, works_at_low_priority
from energytune.tracking.store import artifact_root as default_artifact_root

__all__ = ["Sender"]

_N_RESTARTS = 2
"""Times that a process that was killed is started again."""
_LOW_S = 3.0
"""Seconds after which a process that still works at a low priority is replaced."""
_KILLED_S = 10.0
"""Seconds for a process at a low priority to die of a signal: even that takes some."""
_EXIT_S = 1.0
"""A process with nothing left to do ends in a few hundredths of a second."""


class Sender:
    """A process that sends the journal now and then; nothing but :meth:`register` raises.

    It ends by itself when this process does, however that ends: it notices, sends what is in the
    journal, and is gone two minutes later at the latest. Ctrl-C in the terminal does not reach it.
    One that was killed is started again. What it could not send waits in the journal.

    Args:
        journal: The journal or its path.
        uri: Tracking server or database. It is told to the process by a pipe: a password in it
            is on no command line.
        artifact_root: Where artifacts go; None lets the server, or the store's place, decide.
        interval_s: Seconds between two rounds; after a failure the pause doubles up to a minute.
            A round takes what has come since, in one call a run; the fewer are left at the end
            of a search, the shorter it waits.
    """

    def __init__(
        self,
        journal: TrackingJournal | Path | str,
        uri: str,
        artifact_root: Path | None = None,
        *,
        interval_s: float = 2.0,
    ) -> None:
        if not isinstance(journal, TrackingJournal):
            journal = TrackingJournal(journal)
        root = artifact_root or default_artifact_root(uri, journal.path.parent)
        self._journal, self._uri = journal, uri
        self._settings = {
            "journal": str(journal.path),
            "uri": uri,
            "artifact_root": None if root is None else str(root),
            "interval_s": interval_s,
            "at_low_priority": True,
        }
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener = threading.Thread(target=self._listen, name="energytune-sender")
        self._listener.daemon = True
        self._answer: _Answer | None = None
        self._n_orders, self._is_closed = 0, False
        self._earlier_cpu_s = 0.0
        self.problem: str | None = None
        """Why the last round failed; None if it did not."""
        self.cpu_s = 0.0
        """CPU seconds that the process has used."""

    @property
    def pid(self) -> int | None:
        """The process that sends; None if there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> Sender:
        """Starts the process, without waiting for it; returns this object."""
        try:
            remember_uri(self._journal.path, self._uri)
        except OSError as failure:
            self.problem = str(failure)
        try:
            self._process = start_sender(self._settings)
        except (OSError, ValueError) as failure:
            self.problem = f"the process that sends to MLflow could not be started ({failure})"
        else:
            self._listener.start()
        return self

    def send_now(self) -> None:
        """Asks for a round, without waiting for it."""
        self._order({"do": "send"})

    def drain(self, timeout_s: float = 20.0, patience: Patience | None = None) -> int:
        """Sends what is left, for at most ``timeout_s``.

        Args:
            timeout_s: Seconds to wait at most, however busy the process is.
            patience: How long to wait for a server that does not answer; None takes the usual.

        Returns:
            The number of entries not sent; ``energytune sync`` sends them later.
        """
        self._ask({"do": "drain", "timeout_s": timeout_s}, patience, timeout_s)
        return n_unsent(self._journal, self._uri)

    def register(self, patience: Patience | None = None) -> RegisteredModel | None:
        """Registers what the journal's folder has noted; None if nothing was noted.

        Drain first, so that the version can point to its run.

        Args:
            patience: See :meth:`drain`.

        Raises:
            TrackingError: MLflow can't be reached or does not answer; ``energytune sync``
                registers later.
        """
        told = self._ask({"do": "register"}, patience)
        if told is None or told.get("failure"):
            why = told["failure"] if told else self.problem or "the sender has not been started"
            raise TrackingError(str(why))
        model = told["registered"]
        return None if model is None else RegisteredModel.from_dict(model)

    def find_parent(
        self, dataset: str, search_id: str, patience: Patience | None = None
    ) -> tuple[str | None, str | None]:
        """Returns what :func:`~energytune.tracking.parent.find_parent_run` finds.

        Args:
            dataset: Name of the dataset.
            search_id: The search.
            patience: See :meth:`drain`.
        """
        order = {"do": "find_parent", "dataset": dataset, "search_id": search_id}
        told = self._ask(order, patience) or {}
        return told.get("link"), told.get("run_id")

    def stop(self, timeout_s: float = 20.0, patience: Patience | None = None) -> int:
        """Sends what is left, as :meth:`drain` does, and ends the process."""
        n_left = self.drain(timeout_s, patience)
        self.close()
        return n_left

    def close(self, timeout_s: float = _EXIT_S) -> None:
        """Lets the process end, and waits for that if it has nothing left to do.

        Args:
            timeout_s: Seconds to wait at most.
        """
        with self._lock:
            self._is_closed = True
            process, is_idle = self._process, self._answer is None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):  # it has ended before it read the last order
            process.stdin.close()
        if is_idle and self._listener is not threading.current_thread():
            self._listener.join(timeout_s)

    # the process

    def _listen(self) -> None:
        """Hears what the process says, and starts it again if it was killed."""
        process, n_starts = self._process, 1
        while process is not None and process.stdout is not None:
            for line in process.stdout:
                self._hear(line)
            code = process.wait()
            process.stdout.close()
            with self._lock:
                answer, self._answer = self._answer, None
                self._earlier_cpu_s = self.cpu_s
                if self._is_closed:
                    process = None
                else:
                    self.problem = f"the process that sends to MLflow has ended (status {code})"
                    process = self._restart() if n_starts <= _N_RESTARTS else None
                    n_starts += 1
                    self._process = process
            if answer is not None:
                answer.give(None)

    def _restart(self) -> subprocess.Popen[bytes] | None:
        try:
            return start_sender(self._settings)
        except (OSError, ValueError):
            return None

    def _hear(self, line: bytes) -> None:
        try:
            told = parse_json(line)
            cpu_s, problem, number = float(told["cpu_s"]), told["problem"], told.get("answers")
        except (ValueError, TypeError, KeyError):  # it was killed in the middle of a word
            return
        self.cpu_s, self.problem = self._earlier_cpu_s + cpu_s, problem
        with self._lock:
            answer = self._answer
            if answer is None or answer.number != number:
                return
            self._answer = None
        answer.give(told)

    def _order(self, order: dict[str, Any]) -> _Answer | None:
        """Gives an order; returns the answer to come, None if nobody is there to give it."""
        with self._lock:
            process = self._process
            if process is None or self._is_closed:
                return None
            self._n_orders += 1
            answer = _Answer(self._n_orders)
            if order["do"] != "send":
                self._answer = answer
            try:
                tell(process, {**order, "number": answer.number})
            except (OSError, ValueError):  # it has ended; the listener says so
                self._answer = None
                return None
        return answer

    def _ask(
        self, order: dict[str, Any], patience: Patience | None, timeout_s: float = float("inf")
    ) -> dict[str, Any] | None:
        """Returns the answer to an order; None if there is none, and then there is a problem."""
        patience = patience or Patience(self._uri)
        if patience.is_over:
            self.problem = self.problem or f"MLflow at {redact(self._uri)} does not answer"
            return None
        give_up_at = time.monotonic() + timeout_s
        answer = self._order(order)
        if answer is None:
            return None
        if timeout_s > _LOW_S and not patience.wait(answer, _LOW_S) and not patience.is_over:
            answer = self._replaced(answer, order)
            if answer is None:
                return None
        if not patience.wait(answer, max(0.0, give_up_at - time.monotonic())):
            why = "does not answer" if patience.is_over else f"is not done within {timeout_s:g} s"
            self.problem = self.problem or f"MLflow at {redact(self._uri)} {why}"
        return answer.told

    def _replaced(self, answer: _Answer, order: dict[str, Any]) -> _Answer | None:
        """Returns the answer to come, of another process if this one works at a low priority."""
        process = self._process
        if process is None or not works_at_low_priority(process.pid):
            return answer
        self._settings["at_low_priority"] = False
        kill(process)
        answer.join(_KILLED_S)  # until the listener has started another one
        return self._order(order)


class _Answer:
    """What the process will say to an order; waited for like a thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.told: dict[str, Any] | None = None
        self._is_there = threading.Event()

    def give(self, told: dict[str, Any] | None) -> None:
        self.told = told
        self._is_there.set()

    def is_alive(self) -> bool:
        return not self._is_there.is_set()

    def join(self, timeout_s: float) -> None:
        self._is_there.wait(timeout_s)
