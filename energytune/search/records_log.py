"""All trial records with their full curves, one JSON document a line, in the search's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from energytune.errors import OutputError
from energytune.json_text import parse_json
from energytune.trial import Event, Job, TrialRecord, record_from_dict

__all__ = ["RecordsLog"]


class RecordsLog:
    """Appends a line for each job that ends; implements :class:`energytune.trial.Observer`.

    Args:
        path: The file; made when needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def job_started(self, job: Job) -> None:
        """Writes nothing."""

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Writes nothing."""

    def job_ended(self, record: TrialRecord) -> None:
        """Appends the record.

        Raises:
            OutputError: If the disk is full or the file can't be written.
        """
        line = json.dumps(record.to_dict(), allow_nan=True) + "\n"
        try:
            with self._path.open("ab+") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    line = "\n" + line  # a process that was killed while writing left it torn
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._path} can't be written: {error.strerror or error}. Free some space; the "
                "same command continues the search."
            ) from error

    def ended(self) -> set[tuple[str, str]]:
        """Returns (id of the job, state) of every line; a torn line is passed over."""
        return {(str(p["job"].get("id")), str(p.get("state"))) for p in self._read()}

    def confirmations(self) -> list[TrialRecord]:
        """Returns the complete confirmation runs of earlier starts; a torn line is passed over.

        What a later ``"test"`` job has read on test is in them.
        """
        found: dict[tuple[str, str], TrialRecord] = {}
        for plain in self._read():
            try:
                if plain["job"]["role"] not in ("confirm", "test"):
                    continue
                record = record_from_dict(plain)
                job = record.job
                key = (str(job.tested or job.id), job.recipe.key())
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            if record.state != "COMPLETE":
                continue
            if job.role == "confirm":
                found[key] = record
            elif job.role == "test" and key in found:
                found[key] = replace(found[key], finished=record.finished)
        return list(found.values())

    def _read(self) -> Iterator[dict[str, Any]]:
        """Yields the readable lines."""
        if not self._path.exists():
            return
        for line in self._path.read_text(errors="replace").splitlines():
            try:
                plain = parse_json(line)
            except ValueError:
                continue
            if isinstance(plain, dict) and isinstance(plain.get("job"), dict):
                yield plain
