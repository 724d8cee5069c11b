"""Addresses of image files by content, and which of them can't be read.

Each file is read once. What was found is remembered by size and modification time, so that later
starts only look at the folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from stat import S_ISREG

from energytune.data.file_checks import note_path, recall, remember
from energytune.data.image_reading import read_image
from energytune.errors import DataError
from energytune.progress import Progress

__all__ = ["Examined", "examine_images", "file_sizes"]

_Fact = tuple[int, int, str, str | None]
"""Size, mtime_ns, sha256, and why the image can't be read: "" if it can, None if not known."""
_MAX_THREADS = 16


@dataclass(frozen=True)
class Examined:
    """What was found in image files.

    Attributes:
        digests: sha256 (hex) of each file's content, in order.
        problems: Index -> why the image can't be read, where decoding was asked for.
    """

    digests: list[str]
    problems: dict[int, str]


def examine_images(
    root: Path,
    names: Sequence[str],
    *,
    decode: bool,
    label: str,
    progress: Progress,
) -> Examined:
    """Hashes image files and, if wanted, decodes them to the last pixel.

    Args:
        root: Folder.
        names: Paths below it.
        decode: Whether to find out which ones can't be read.
        label: What to call this in the progress.
        progress: Is told the files read.

    Raises:
        DataError: A file is not there or there is no permission to read it; names it.
    """
    note = note_path(f"images {root.resolve()} {label}")
    kept = recall(note)
    known: dict[str, _Fact] = {}
    if isinstance(kept, dict) and isinstance(kept.get("files"), dict):
        known = {name: tuple(fact) for name, fact in kept["files"].items()}
    facts: dict[str, _Fact] = {}
    unread: list[str] = []
    for name, stat in zip(names, _stats(root, names, strict=not decode), strict=True):
        fact = known.get(name)
        if fact and fact[:2] == stat and not (decode and fact[3] is None):
            facts[name] = fact
        else:
            unread.append(name)
    if unread:
        n_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        with (
            progress.stage(label, len(unread)) as advance,
            ThreadPoolExecutor(n_threads) as pool,
        ):
            for name, fact in zip(
                unread, pool.map(lambda name: _examine(root / name, decode), unread), strict=True
            ):
                facts[name] = fact
                advance(1)
        remember(note, {"root": str(root.resolve()), "files": facts})
    return Examined(
        [facts[name][2] for name in names],
        {i: problem for i, name in enumerate(names) if (problem := facts[name][3])},
    )


def file_sizes(root: Path, names: Sequence[str]) -> list[int]:
    """Returns the size of each file in bytes.

    Raises:
        DataError: A file is not there; names it.
    """
    return [stat[0] for stat in _stats(root, names, strict=True) if stat]


def _stats(root: Path, names: Sequence[str], *, strict: bool) -> list[tuple[int, int] | None]:
    """Returns size and mtime_ns of each file; None for one that is gone, unless ``strict``."""
    stats: list[tuple[int, int] | None] = []
    prefix = str(root)
    for name in names:
        try:
            stat = os.stat(f"{prefix}/{name}")
        except OSError as error:
            if not strict:
                stats.append(None)  # _examine tells it as an image that can't be read
                continue
            raise DataError(
                f"{root / name} can't be read: {error.strerror or error}. Unpack the data again, "
                "or take this image out of the list that names it."
            ) from error
        stats.append((stat.st_size, stat.st_mtime_ns))
    return stats


def _examine(path: Path, decode: bool) -> _Fact:
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            raise OSError("it is no file, but a folder, a pipe or a device")
        content = path.read_bytes()
    except OSError as error:
        if decode:
            return 0, 0, "", f"{error.strerror or error}"
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
    problem: str | None = None
    if decode:
        try:
            read_image(BytesIO(content))
            problem = ""
        except Exception as error:  # a decoder may raise anything
            problem = _reason(error)
    return stat.st_size, stat.st_mtime_ns, hashlib.sha256(content).hexdigest(), problem


def _reason(error: Exception) -> str:
    if isinstance(error, DataError):
        return str(error)
    if "cannot identify" in str(error):
        return "it is no image"  # Pillow names the memory address that it was read from
    return f"{type(error).__name__}: {error}"
