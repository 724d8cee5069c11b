"""The tracking journal: what MLflow shall know, on disk before anything is sent.

A file of JSON lines. A line is with the operating system when the call returns, so that a killed
process loses none, and on the disk a moment later: a thread of its own waits for the disk, which
takes 5 ms on a quiet machine and seconds on a busy one, so that the search need not. A line has
``kind``:

- ``"run"``: a run begins (``uid``, ``parent``, ``name``, ``experiment``, ``start_ms``, ``tags``,
  ``params``), or goes on if the uid is known already;
- ``"log"``: metrics as ``[key, value, timestamp_ms, step]``, and tags;
- ``"file"``: a file of the run folder that becomes an artifact of the run;
- ``"end"``: the run ends with a ``status`` at ``end_ms``.

Each run has a uid of our own and every metric a fixed timestamp, so that replaying the file any
number of times gives the same runs. A line that was torn by a crash is skipped.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energytune.json_text import parse_json
from energytune.tracking.journal_entry import is_entry

__all__ = ["JournalSlice", "Point", "TrackingJournal"]

Point = tuple[str, float, int, int]
"""Key, value, timestamp in milliseconds since the epoch, step."""


@dataclass(frozen=True)
class JournalSlice:
    """Entries read from a journal.

    Attributes:
        entries: In the order of writing.
        offset: Byte offset behind the last complete line.
        n_unreadable: Complete lines that are no entries: torn by a crash, or of a later version.
    """

    entries: list[dict[str, Any]]
    offset: int
    n_unreadable: int = 0


class TrackingJournal:
    """An append-only file of entries; one writer, any number of readers.

    Args:
        path: The file; it and its folder are created by the first entry.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self._checked = False
        self._disk = _Disk(self.path)

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Writes entries in one write; does not wait for the disk.

        Args:
            entries: JSON values with ``kind`` and ``uid``.

        Raises:
            OSError: The disk is full or the folder can't be written, or an earlier entry did not
                reach the disk; these entries are written in that case.
        """
        if not entries:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(
            json.dumps(e, separators=(",", ":"), allow_nan=False) + "\n" for e in entries
        )
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if not self._checked and _ends_torn(descriptor):
                text = "\n" + text  # close the torn line, so that ours starts on its own
            _write_all(descriptor, text.encode())
            self._checked = True
        except OSError:
            self._checked = False  # the write itself may have left a torn line
            raise
        finally:
            os.close(descriptor)
        self._disk.sync()

    def wait_for_disk(self, timeout_s: float) -> bool:
        """Returns whether all that was appended is on the disk, after at most ``timeout_s``."""
        return self._disk.wait(timeout_s)

    def read(self, offset: int = 0, end_offset: int | None = None) -> JournalSlice:
        """Returns the complete entries between two byte offsets; a missing file has none."""
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                data = file.read(-1 if end_offset is None else end_offset - offset)
        except (FileNotFoundError, NotADirectoryError):
            return JournalSlice([], 0)
        end = data.rfind(b"\n") + 1
        entries: list[dict[str, Any]] = []
        n_unreadable = 0
        for line in data[:end].splitlines():
            if not line.strip():
                continue
            entry = _parse(line)
            if entry is None:
                n_unreadable += 1
            else:
                entries.append(entry)
        return JournalSlice(entries, offset + end, n_unreadable)

    def log(
        self, uid: str, points: Iterable[Point] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        """Writes metrics and tags of a run; non-finite values are left out.

        MLflow has no place for them in its charts; a trial that failed by them says so in its
        reason, and the full curve is in the run folder's records.
        """
        self.append(log_entry(uid, points, tags))


class _Disk:
    """Brings a file's writes onto the disk from a thread that lives while there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = threading.Condition()
        self._is_due = self._is_busy = False
        self._failure: OSError | None = None

    def sync(self) -> None:
        """Asks for what was written so far; raises what went wrong the last time."""
        with self._state:
            failure, self._failure = self._failure, None
            self._is_due = True
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._run, name="energytune-journal", daemon=True).start()
        if failure is not None:
            raise failure

    def wait(self, timeout_s: float) -> bool:
        with self._state:
            done = self._state.wait_for(lambda: not self._is_busy, timeout_s)
            return done and self._failure is None

    def _run(self) -> None:
        while True:
            with self._state:
                if not self._is_due:
                    self._is_busy = False
                    self._state.notify_all()
                    return
                self._is_due = False
            try:
                descriptor = os.open(self._path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as failure:
                self._failure = failure


def log_entry(
    uid: str, points: Iterable[Point] = (), tags: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Builds a ``"log"`` entry without non-finite values."""
    finite = [list(point) for point in points if math.isfinite(point[1])]
    return {"kind": "log", "uid": uid, "metrics": finite, "tags": dict(tags or {})}


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = parse_json(line)
    except ValueError:
        return None
    return entry if is_entry(entry) else None


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
