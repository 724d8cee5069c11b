"""Gzipped tables, read with a limit on what they unfold to.

A file of a few megabytes can unfold to as many gigabytes. Tables of numbers and of SMILES shrink
to a tenth or a twentieth; one that unfolds to over a hundred times its size is made to fill the
memory.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from energytune.errors import DataError

__all__ = ["open_gzip", "open_gzip_text", "unfolded_limit"]

_ALWAYS_BYTES = 8 << 20
_MOST_TIMES = 100


def unfolded_limit(n_bytes: int) -> int:
    """Returns how many bytes a gzipped file of ``n_bytes`` may unfold to: 8 MiB + 100 times."""
    return _ALWAYS_BYTES + _MOST_TIMES * n_bytes


def open_gzip(path: Path) -> BinaryIO:
    """Opens a .gz file for reading bytes.

    Raises:
        OSError: It can't be opened. Reading may raise what ``gzip`` raises, and a DataError
            beyond :func:`unfolded_limit`.
    """
    return cast(BinaryIO, io.BufferedReader(_Limited(path)))


def open_gzip_text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> TextIO:
    """Opens a .gz file for reading text, line ends untranslated; see :func:`open_gzip`."""
    return io.TextIOWrapper(open_gzip(path), encoding=encoding, errors=errors, newline="")


class _Limited(io.RawIOBase):
    """What a .gz file unfolds to, up to the limit."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, gzip.GzipFile(path, "rb")
        self._limit = unfolded_limit(path.stat().st_size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.read(len(buffer))
        if self._file.tell() > self._limit:
            raise DataError(
                f"{self._path} unfolds to more than {self._limit >> 20} MiB, over {_MOST_TIMES} "
                "times its size: no table does. If it is genuine, unpack it by hand."
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
