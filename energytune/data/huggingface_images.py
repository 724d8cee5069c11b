"""Images in the rows of a Hugging Face table, encoded in the row or in a file that it names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from energytune.data.file_checks import note_path, recall, remember
from energytune.data.fingerprint import hash_lines
from energytune.data.image_reading import read_image
from energytune.data.image_sources import Labels
from energytune.errors import DataError
from energytune.progress import Progress

__all__ = ["TableImages", "row_digests"]

_BATCH = 256


class TableImages:
    """Labelled images of a table.

    Args:
        rows: ``datasets.Dataset`` with one column of images, which stay encoded.
        column: Its name.
        targets: Class indices, (N,) int64.
        digests: sha256 (hex) of each encoded image; they are the samples' keys.
    """

    def __init__(self, rows: Any, column: str, targets: Labels, digests: list[str]) -> None:
        self._rows, self._column = rows, column
        self._targets, self._digests = targets, digests

    @property
    def targets(self) -> Labels:
        """Class indices, (N,) int64."""
        return self._targets

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Returns a PIL image and its class index."""
        cell = self._rows[index][self._column]
        encoded = cell["bytes"]
        picture = read_image(Path(cell["path"]) if encoded is None else BytesIO(encoded))
        return picture, int(self._targets[index])

    def path(self, index: int) -> Path | None:
        """Returns the file that a sample came from, where that is known."""
        name = self._rows[index][self._column]["path"]
        return Path(name) if name else None

    def keys(self) -> list[str]:
        """Returns the images' digests."""
        return self._digests

    def identity(self, indices: Sequence[int]) -> str:
        """Addresses samples by content and class."""
        return hash_lines(f"{self._digests[i]} {self._targets[i]}" for i in indices)


def row_digests(rows: Any, column: str, where: str, progress: Progress) -> list[str]:
    """Returns the sha256 (hex) of each encoded image, remembered as long as its files don't change.

    Args:
        rows: ``datasets.Dataset`` whose images stay encoded.
        column: The column of images.
        where: For messages.
        progress: Is told the images read.

    Raises:
        DataError: A row has no image, or its file can't be read.
    """
    files = [(file["filename"], os.stat(file["filename"])) for file in rows.cache_files]
    seen = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    note = note_path(f"table {column} {seen}")
    known = recall(note)
    if isinstance(known, dict) and known.get("files") == seen:
        kept: list[str] = known["digests"]
        if len(kept) == len(rows):
            return kept
    digests: list[str] = []
    by_file = False
    with progress.stage(f"reading {where}", len(rows)) as advance:
        for batch in rows.with_format("arrow").iter(_BATCH):
            for cell in batch.column(column).to_pylist():
                content = cell["bytes"] if cell else None
                if content is None:
                    by_file = True
                    content = _file_content(cell, len(digests), where)
                digests.append(hashlib.sha256(content).hexdigest())
            advance(batch.num_rows)
    # Files outside the table may change without it, so these are read at each start.
    if seen and not by_file:
        remember(note, {"files": seen, "digests": digests})
    return digests


def _file_content(cell: Any, index: int, where: str) -> bytes:
    name = cell["path"] if cell else None
    if not name:
        raise DataError(f"Sample {index} of {where} has no image. Remove it or fill it in.")
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise DataError(
            f"Sample {index} of {where} can't be read: {name}: {error.strerror or error}."
        ) from error
