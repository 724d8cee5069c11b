"""Sends a journal to one store, once, and remembers how far it got."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.errors import TrackingError
from energytune.json_text import read_json
from energytune.redact import without_login
from energytune.tracking.client import open_client, tracking_errors
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.store import locked, sqlite_path

if TYPE_CHECKING:
    from energytune.tracking.runs import Replayer

__all__ = ["Drain", "last_uri", "n_unsent", "remember_uri"]


class Drain:
    """A callable that sends all that is in the journal now; call it again for more.

    One at a time: a lock file keeps two processes from replaying the same journal at once. Where
    another one has had a turn, what this one knows of the store is looked up anew.

    Args:
        journal: What to send.
        uri: Where to.
        artifact_root: See :class:`energytune.tracking.runs.Replayer`.
        from_start: Look at everything, also at what is marked as sent to this store, and send
            what the store lacks.
        wait_s: How long to wait for another process that is sending the same journal, seconds.
    """

    def __init__(
        self,
        journal: TrackingJournal,
        uri: str,
        artifact_root: Path | None,
        *,
        from_start: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        self._journal, self._uri, self._artifact_root = journal, uri, artifact_root
        self._from_start, self._wait_s = from_start, wait_s
        self._name = uuid.uuid4().hex
        self._replayer: Replayer | None = None
        self._read_to = 0
        self._n_held = 0
        self.n_sent = 0
        """Entries that this object has brought to the store, or found there."""
        self.n_runs = 0
        """Runs in MLflow that the journal knows."""
        self.n_unreadable = 0
        """Lines that are no entries."""
        self.rejected: dict[str, str] = {}
        """Uids of runs that the server refuses for good, with its reason."""

    def __call__(self) -> None:
        """Sends all that is in the journal now.

        Raises:
            TrackingError: The store can't be reached, or another process is sending. What was
                read is kept and sent by the next call.
        """
        lock = self._journal.path.with_suffix(".lock")
        with locked(lock, wait=False, timeout_s=self._wait_s) as held:
            if not held:
                raise TrackingError(
                    f"Another process is sending {self._journal.path}: wait until it has ended."
                )
            if self._replayer is None or self._others_have_sent():
                self._open()
            with tracking_errors(self._uri):
                self._send()

    def n_unsent(self) -> int:
        """Returns the number of entries in the journal that were not sent."""
        if self._replayer is None:
            if self._from_start:
                return len(self._journal.read().entries)
            return n_unsent(self._journal, self._uri)
        return self._n_held + len(self._journal.read(self._read_to).entries)

    def _open(self) -> None:
        client = open_client(self._uri)
        from energytune.tracking.runs import Replayer

        replayer = Replayer(client, self._journal.path.parent, self._artifact_root)
        sent_to = _marked_offset(self._journal.path, self._uri)
        if not self._from_start:
            before = self._journal.read(0, sent_to)
            replayer.recall(before.entries)
            self._read_to, self._n_held = before.offset, 0
        self._replayer = replayer
        _write_mark(self._journal.path, self._uri, sent_to, self._name)
        self.rejected = replayer.rejected

    def _others_have_sent(self) -> bool:
        return _read_mark(self._journal.path).get("by") != self._name

    def _send(self) -> None:
        if self._replayer is None:
            return
        news = self._journal.read(self._read_to)
        self._read_to = news.offset  # from here on the replayer holds them, sent or not
        self._n_held += len(news.entries)
        self.n_unreadable += news.n_unreadable
        if not self._n_held:
            return
        if self._from_start:
            self._replayer.compare(news.entries)
            self._from_start = False
            self._replayer.push(())
        else:
            self._replayer.push(news.entries)
        self.n_sent, self._n_held = self.n_sent + self._n_held, 0
        self.n_runs = self._replayer.n_runs
        _write_mark(self._journal.path, self._uri, self._read_to, self._name)


def last_uri(journal: Path) -> str | None:
    """Returns the store to which a journal was last sent, without a login; None if it never was."""
    uri = _read_mark(journal).get("uri")
    return uri if isinstance(uri, str) else None


def remember_uri(journal: Path, uri: str) -> None:
    """Notes where a journal is meant to go, before anything could be sent."""
    if last_uri(journal) != without_login(uri):
        journal.parent.mkdir(parents=True, exist_ok=True)
        _write_mark(journal, uri, 0)


def n_unsent(journal: TrackingJournal, uri: str) -> int:
    """Returns the number of entries that are not marked as sent to a store."""
    return len(journal.read(_marked_offset(journal.path, uri)).entries)


def _marked_offset(journal: Path, uri: str) -> int:
    mark, path = _read_mark(journal), sqlite_path(uri)
    if mark.get("uri") != without_login(uri) or (path is not None and not path.exists()):
        return 0
    return int(mark["offset"])


def _read_mark(journal: Path) -> dict[str, Any]:
    try:
        mark = read_json(_mark_path(journal))
    except (OSError, ValueError):
        return {}  # it only saves time: without it everything is replayed
    return mark if isinstance(mark, dict) and isinstance(mark.get("offset"), int) else {}


def _write_mark(journal: Path, uri: str, offset: int, by: str = "") -> None:
    part = _mark_path(journal).with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump({"uri": without_login(uri), "offset": offset, "by": by}, file)
    part.rename(_mark_path(journal))


def _mark_path(journal: Path) -> Path:
    return journal.with_suffix(".sent")
