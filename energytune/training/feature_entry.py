"""One entry of the feature store: an array file, what is known of it, and whether it is whole."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energytune.errors import OutputError
from energytune.json_text import read_json
from energytune.paths import CACHE_ADVICE, atomic_file

__all__ = ["DATA_NAME", "FORMAT", "META_NAME", "DamagedEntry", "StoredFeatures", "Written"]
__all__ += ["read_entry", "write_meta"]

FORMAT = 2
DATA_NAME, META_NAME = "features.npy", "meta.json"
_DTYPES = ("<f2", "<f4")
_CHUNK_BYTES = 1 << 22


class DamagedEntry(Exception):  # noqa: N818 - no user sees it: the entry is built again
    """An entry is there and can't be used; the message says why."""


@dataclass(frozen=True)
class Written:
    """What a writer of an entry's array has written.

    Attributes:
        shape: (S, N, ...): S views of N samples.
        dtype: ``"<f2"`` or ``"<f4"``.
        crc32: Checksum of the whole file.
    """

    shape: tuple[int, ...]
    dtype: str
    crc32: int


@dataclass(frozen=True)
class StoredFeatures:
    """An array on disk, (S, N, ...): view 0 is the evaluation transform's, then the augmented.

    Attributes:
        path: The file, in numpy's format.
        shape: (S, N, ...).
        dtype: float16, or float32 where float16 does not reach.
        offset: Where the numbers begin in the file, in bytes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def n_elements(self) -> int:
        """Numbers in all views together."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def n_bytes(self) -> int:
        """Bytes of all views together."""
        return self.n_elements * self.dtype.itemsize


def read_entry(folder: Path, *, verify: bool) -> StoredFeatures | None:
    """Returns the entry in ``folder``; None if there is none.

    A file of the recorded size and time of change is taken as whole. With another time (it was
    copied, touched or overwritten) the checksum decides, and the new time is recorded.

    Args:
        folder: One entry's folder.
        verify: Whether to read such a file to its end; else it counts as damaged.

    Raises:
        DamagedEntry: If something is there that is not a whole entry of this format.
    """
    if not folder.exists():
        return None
    try:
        meta = read_json(folder / META_NAME)
        if meta["format"] != FORMAT:
            raise DamagedEntry(f"it has the format {meta['format']!r}, this version's is {FORMAT}")
        stored = _read_header(folder / DATA_NAME, meta)
        state = stored.path.stat()
        if state.st_size != stored.offset + stored.n_bytes:
            raise DamagedEntry(f"the file has {state.st_size:,} bytes, not what its shape needs")
        if state.st_mtime_ns != meta["mtime_ns"]:
            _verify(stored.path, int(meta["crc32"]), verify)
            _restamp(folder, meta | {"mtime_ns": state.st_mtime_ns})
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
        raise DamagedEntry(f"it can't be read: {error}") from error
    return stored


def write_meta(
    folder: Path, written: Written, parts: dict[str, Any], *, version: str, seconds: float
) -> None:
    """Records in ``folder`` what was written there.

    Args:
        folder: Holds the array's file.
        written: Shape, dtype and checksum.
        parts: Readable parts of the key (JSON values).
        version: Version of energytune.
        seconds: How long it took to compute and write.
    """
    state = (folder / DATA_NAME).stat()
    meta = {
        "format": FORMAT,
        "energytune": version,
        "parts": parts,
        "shape": list(written.shape),
        "dtype": written.dtype,
        "n_bytes": state.st_size,
        "crc32": written.crc32,
        "mtime_ns": state.st_mtime_ns,
        "seconds": round(seconds, 3),
    }
    with (folder / META_NAME).open("w", encoding="utf-8") as file:
        json.dump(meta, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _read_header(path: Path, meta: dict[str, Any]) -> StoredFeatures:
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise DamagedEntry("it is an array of an unknown version")
        try:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # also what Python's tokenizer raises
            raise DamagedEntry(f"its header can't be read: {error}") from error
        offset = file.tell()
    if list(shape) != meta["shape"] or dtype.str != meta["dtype"] or fortran:
        raise DamagedEntry(f"the file holds {dtype} {shape}, not what was recorded")
    if dtype.str not in _DTYPES or len(shape) < 3 or 0 in shape:
        raise DamagedEntry(f"{dtype} {shape} are no features")
    return StoredFeatures(path, tuple(shape), dtype, offset)


def _verify(path: Path, expected: int, verify: bool) -> None:
    if not verify:
        raise DamagedEntry("the file was changed and not yet checked")
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found = zlib.crc32(chunk, found)
    if found != expected:
        raise DamagedEntry("the file was changed: its checksum is not the recorded one")


def _restamp(folder: Path, meta: dict[str, Any]) -> None:
    try:
        with atomic_file(folder / META_NAME, CACHE_ADVICE) as file:
            file.write(json.dumps(meta, indent=2).encode())
    except OutputError:
        pass  # a cache that is only to be read: it is verified again next time
