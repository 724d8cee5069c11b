"""Content of files, read once and remembered by size and modification time ever after.

What is remembered lies in the cache folder; losing it costs reading the files again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from energytune.errors import DataError, EnergyTuneError
from energytune.json_text import read_json
from energytune.paths import atomic_file, cache_dir

__all__ = ["check_file", "file_md5", "note_path", "recall", "remember", "text_digest"]


def check_file(path: Path, md5: str) -> str:
    """Checks a file's content once, and by size and modification time ever after.

    Args:
        path: The file.
        md5: What its md5 must be (hex).

    Returns:
        The md5 of the file.

    Raises:
        DataError: The file is damaged.
    """
    return _content(path, md5)


def file_md5(path: Path) -> str:
    """Returns the md5 (hex) of a file whose right one is not known."""
    return _content(path, None)


def _content(path: Path, md5: str | None) -> str:
    stat = path.stat()
    note = note_path(str(path.resolve()))
    seen = {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    known = recall(note)
    if isinstance(known, dict) and {**known, **seen} == known and "md5" in known:
        return str(known["md5"])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if md5 is not None and found != md5:
        raise DataError(
            f"{path} is damaged: its md5 must be {md5}, got {found} ({stat.st_size:,} bytes). "
            "Delete it and run again to download it anew."
        )
    remember(note, {**seen, "md5": found})
    return found


def note_path(key: str) -> Path:
    """Returns where in the cache something is remembered under ``key``."""
    return cache_dir() / "data" / "checked" / f"{text_digest(key)[:24]}.json"


def recall(note: Path) -> Any:
    """Returns what is remembered at ``note``; None if nothing is, or nothing readable."""
    try:
        return read_json(note)
    except (OSError, ValueError):
        return None


def remember(note: Path, content: dict[str, Any]) -> None:
    """Remembers ``content`` at ``note``; does nothing where the cache can't be written."""
    try:
        with atomic_file(note, "") as file:
            file.write(json.dumps(content).encode())
    except EnergyTuneError:
        return  # only costs reading the files again next time


def text_digest(text: str) -> str:
    """Returns the sha256 (hex) of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
