"""Downloads single files, and takes files out of a remote archive while it streams by."""

from __future__ import annotations

import hashlib
import struct
import tarfile
import threading
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Self, cast

from energytune.paths import atomic_file
from energytune.progress import Advance, Progress

__all__ = ["fetch_file", "fetch_members"]

_CONNECT_S = 6.0  # looking a name up has no time limit of its own
_READ_S = 30.0
_CHUNK = 1 << 20
_ADVICE = "Free some space, or name another folder with --data-root DIR."
_MAX_BYTES = 4 << 30
"""Of a file that is written; the largest that is downloaded has 0.5 GB."""
_LONG_NAMES = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, TypeError, ValueError, IndexError, struct.error)
"""What tarfile raises at a damaged archive: in a header that is cut short it takes ord("")."""


def fetch_members(
    url: str, names: Sequence[str], folder: Path, *, label: str, progress: Progress
) -> str:
    """Downloads a .tar.gz and writes those of its files that are wanted; stores nothing else.

    A file appears in ``folder`` only when it is whole. The transfer stops at the last file.

    Args:
        url: Address of the archive.
        names: Base names of the wanted files.
        folder: Where they are written.
        label: What to call this in the progress.
        progress: Is told the bytes received.

    Returns:
        Why not all files came, as a sentence; empty if they did.

    Raises:
        OutputError: The folder can't be written or the disk is full.
    """
    try:
        response = _open(url)
    except (OSError, HTTPException, ValueError) as error:
        return f"Downloading {url} failed: {error}."
    wanted = set(names)
    length = response.headers.get("Content-Length")
    try:
        with (
            closing(response),
            progress.stage(label, int(length) if length else None) as advance,
            tarfile.open(
                fileobj=cast(IO[bytes], _Counted(response, advance)),
                mode="r|gz",
                tarinfo=_Member,
            ) as archive,
        ):
            for member in archive:
                name = Path(member.name).name
                if name in wanted and member.isfile() and member.size <= _MAX_BYTES:
                    content = archive.extractfile(member)
                    if content is not None:
                        _write(content, folder / name)
                        wanted.remove(name)
                if not wanted:
                    return ""
    except (_TransferError, *_DAMAGED) as error:
        return f"Downloading {url} broke off: {error}."
    return f"The archive at {url} has no {', '.join(sorted(wanted))}."


def fetch_file(
    url: str, path: Path, *, md5: str, unzip: bool = False, label: str, progress: Progress
) -> str:
    """Downloads one file, which appears at ``path`` only when it is whole and the right one.

    Args:
        url: Address of the file.
        path: Where it is written.
        md5: What the md5 (hex) of the transferred bytes must be.
        unzip: Whether the address holds a .gz of the file.
        label: What to call this in the progress.
        progress: Is told the bytes received.

    Returns:
        Why it did not come, as a sentence; empty if it did.

    Raises:
        OutputError: The folder can't be written or the disk is full.
    """
    try:
        response = _open(url)
    except (OSError, HTTPException, ValueError) as error:
        return f"Downloading {url} failed: {error}."
    length = response.headers.get("Content-Length")
    digest = hashlib.md5(usedforsecurity=False)
    unpack = _unpacked if unzip else _as_it_is
    try:
        with (
            closing(response),
            progress.stage(label, int(length) if length else None) as advance,
            atomic_file(path, _ADVICE) as file,
        ):
            source = _Counted(response, advance)
            for chunk, pieces in unpack(source):
                digest.update(chunk)
                for piece in pieces:
                    file.write(piece)
                if file.tell() > _MAX_BYTES:
                    raise _TransferError(f"it is larger than {_MAX_BYTES >> 30} GiB")
            if digest.hexdigest() != md5:
                raise _TransferError(
                    f"the md5 of what came must be {md5}, got {digest.hexdigest()}"
                )
    except (_TransferError, zlib.error) as error:
        return f"Downloading {url} broke off: {error}."
    return ""


def _as_it_is(source: _Counted) -> Iterator[tuple[bytes, Iterable[bytes]]]:
    """Yields what comes, and what is to be written of it."""
    while chunk := source.read(_CHUNK):
        yield chunk, (chunk,)


def _unpacked(source: _Counted) -> Iterator[tuple[bytes, Iterable[bytes]]]:
    """Yields what comes, and what it unfolds to, a little at a time: it may be a thousandfold."""
    unfolding = zlib.decompressobj(wbits=31)

    def pieces(chunk: bytes) -> Iterator[bytes]:
        n_unfolded = 0
        while chunk and n_unfolded <= _MAX_BYTES:
            piece = unfolding.decompress(chunk, _CHUNK)
            n_unfolded += len(piece)
            chunk = unfolding.unconsumed_tail
            yield piece

    while chunk := source.read(_CHUNK):
        yield chunk, pieces(chunk)


class _Member(tarfile.TarInfo):
    """A file in an archive whose name is no longer than a memory can take."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Reads a header."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _LONG_NAMES and member.size > _CHUNK:
            raise tarfile.ReadError(f"a name of {member.size:,} letters")
        return member


class _TransferError(Exception):
    """The connection broke; no ``OSError``, so that it is not taken for a full disk."""


class _Counted:
    """A file to read from that tells its progress."""

    def __init__(self, source: Any, advance: Advance) -> None:
        self._source, self._advance = source, advance

    def read(self, size: int = -1) -> bytes:
        """Reads at most ``size`` bytes."""
        try:
            chunk: bytes = self._source.read(size)
        except (OSError, HTTPException) as error:
            raise _TransferError(str(error) or type(error).__name__) from error
        self._advance(len(chunk))
        return chunk


def _open(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "energytune"})
    outcome: list[Any] = []

    def connect() -> None:
        try:
            outcome.append(urllib.request.urlopen(request, timeout=_READ_S))
        except Exception as error:  # handed over to the waiting thread
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_S)
    if not outcome:
        raise TimeoutError(f"no answer within {_CONNECT_S:g} seconds")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _write(content: IO[bytes], path: Path) -> None:
    with atomic_file(path, _ADVICE) as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
