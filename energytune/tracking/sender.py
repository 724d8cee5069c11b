"""Drains the journal into MLflow from a background thread while a search runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from energytune.redact import redact
from energytune.tracking.drain import Drain, remember_uri
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.patience import Patience
from energytune.tracking.statistics import refresh_statistics
from energytune.tracking.store import artifact_root as default_artifact_root

__all__ = ["Sender"]

_MAX_PAUSE_S = 60.0


class Sender:
    """A background thread that sends the journal now and then; it never raises.

    Entries of several trials are merged into one call a run, so a longer interval is cheaper.

    Args:
        journal: The journal or its path.
        uri: Tracking server or database.
        artifact_root: Where artifacts go; None lets the server, or the store's place, decide.
        interval_s: Seconds between two rounds; after a failure the pause doubles up to a minute.
    """

    def __init__(
        self,
        journal: TrackingJournal | Path | str,
        uri: str,
        artifact_root: Path | None = None,
        *,
        interval_s: float = 10.0,
    ) -> None:
        if not isinstance(journal, TrackingJournal):
            journal = TrackingJournal(journal)
        root = artifact_root or default_artifact_root(uri, journal.path.parent)
        self._journal, self._uri = journal, uri
        self._drain = Drain(journal, uri, root)
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._give_up_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="energytune-sender", daemon=True)
        self.problem: str | None = None
        """Why the last round failed; None if it did not."""
        self.cpu_s = 0.0
        """CPU seconds that the thread has used."""

    def start(self) -> Sender:
        """Starts the thread; returns this object."""
        try:
            remember_uri(self._journal.path, self._uri)
        except OSError as failure:
            self.problem = str(failure)
        self._thread.start()
        return self

    def stop(self, timeout_s: float = 20.0, patience: Patience | None = None) -> int:
        """Sends what is left, for at most ``timeout_s``, and ends the thread.

        Args:
            timeout_s: Seconds to wait at most, however busy the sender is.
            patience: How long to wait for a server that does not answer; None takes the usual.

        Returns:
            The number of entries not sent; ``energytune sync`` sends them later.
        """
        self._give_up_at = time.monotonic() + timeout_s
        patience = patience or Patience(self._uri)
        self._stop.set()
        if self._thread.ident is not None and not patience.wait(self._thread, timeout_s):
            why = "does not answer" if patience.is_over else f"is not done within {timeout_s:g} s"
            self.problem = self.problem or f"MLflow at {redact(self._uri)} {why}"
            self._give_up_at = 0.0
        return self._drain.n_unsent()

    def _run(self) -> None:
        pause = self._interval_s
        while not self._stop.wait(pause):
            pause = self._interval_s if self._round() else min(2 * pause, _MAX_PAUSE_S)
        # once more for what came last; a second try, because a server may just be starting
        if not self._round() and time.monotonic() + 1 < self._give_up_at:
            time.sleep(1)
            self._round()
        refresh_statistics(self._uri)

    def _round(self) -> bool:
        try:
            self._drain()
        except Exception as failure:  # a thread that dies would lose the rest silently
            self.problem = redact(str(failure), self._uri)
        else:
            self.problem = None
        self.cpu_s = time.thread_time()
        return self.problem is None
