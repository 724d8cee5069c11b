"""Files that several machines share: a mounted folder, or a store behind a URL.

Whatever a node makes that another one can use lies in one place, under names such as
``"features/KEY/meta.json"``. A name holds the same bytes for ever, or is replaced as a whole: a
reader never sees half a file.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.errors import ConfigError, EnergyTuneError, OutputError
from energytune.paths import atomic_file
from energytune.redact import redact
from energytune.storage.opened import first_line, open_url

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["SharedStorage"]

_PART_SUFFIX = ".part"
_CHUNK_BYTES = 1 << 22
_OBJECT_STORES = ("s3", "gcs", "abfs")
"""They show an object only when all of it is there, so nothing has to be renamed."""
_LOCAL_ADVICE = "Free some space, or choose another folder."


@dataclass(frozen=True)
class SharedStorage:
    """A folder for whole files that all nodes of a cluster can reach.

    It holds no connection: it may be pickled, and used from several threads.

    Args:
        url: An absolute path (a file system that all nodes mount), or a URL: ``file://``,
            ``s3://bucket/folder``, ``gs://``, ``abfs://``, ``hdfs://``, or any scheme whose driver
            for fsspec is installed. Credentials come from the environment, as the driver says.

    Raises:
        ConfigError: It is neither, or the scheme has no driver here. No message shows a
            password of the URL.
    """

    url: str

    def __post_init__(self) -> None:
        open_url(self.url)

    def __str__(self) -> str:
        """Returns the URL without user and password."""
        return redact(self.url)

    def __repr__(self) -> str:
        return f"SharedStorage({str(self)!r})"

    def put(self, name: str, local_path: Path) -> None:
        """Stores a local file as ``name``, whole or not at all; one that is there is replaced.

        Args:
            name: Parts joined by ``/``.
            local_path: What to store.

        Raises:
            ConfigError: The name would leave the storage.
            OutputError: It can't be written, or the local file can't be read.
        """
        try:
            with local_path.open("rb") as file:
                self._write(name, _chunks(file, lambda error: _unreadable(local_path, error)))
        except OSError as error:
            if isinstance(error, EnergyTuneError):
                raise
            raise _unreadable(local_path, error) from error

    def put_bytes(self, name: str, data: bytes) -> None:
        """Stores ``data`` as ``name``, see :meth:`put`."""
        self._write(name, [data])

    def fetch(self, name: str, local_path: Path) -> bool:
        """Copies ``name`` to a local file, whole or not at all.

        Args:
            name: Parts joined by ``/``.
            local_path: Where it appears; its folder is made.

        Returns:
            False if there is no such name; then nothing is written.

        Raises:
            ConfigError: The name would leave the storage.
            OutputError: It can't be read, or the local file can't be written.
        """
        with self._reading(name) as source:
            if source is None:
                return False
            with atomic_file(local_path, _LOCAL_ADVICE) as file:
                for chunk in _chunks(source, lambda error: self._failed("read", error)):
                    file.write(chunk)
        return True

    def get_bytes(self, name: str) -> bytes | None:
        """Returns what ``name`` holds, or None if there is no such name; see :meth:`fetch`."""
        with self._reading(name) as source:
            return None if source is None else bytes(source.read())

    def exists(self, name: str) -> bool:
        """Returns whether there is such a name.

        Raises:
            ConfigError: The name would leave the storage.
            OutputError: The storage can't be read.
        """
        from pyarrow.fs import FileType

        fs, path = self._at(name)
        with self._told("read"):
            return bool(fs.get_file_info(path).type == FileType.File)

    def delete(self, name: str) -> None:
        """Deletes ``name``; that it is not there is no error.

        Raises:
            ConfigError: The name would leave the storage.
            OutputError: It can't be deleted.
        """
        fs, path = self._at(name)
        with self._told("written"), suppress(FileNotFoundError):
            fs.delete_file(path)

    def names(self, prefix: str = "") -> list[str]:
        """Returns all names that begin with ``prefix``, sorted; ``"features/"`` for a folder.

        Raises:
            ConfigError: The prefix would leave the storage.
            OutputError: The storage can't be read.
        """
        from pyarrow.fs import FileSelector, FileType

        folder = prefix.rpartition("/")[0]
        fs, base = self._at(folder) if folder else open_url(self.url)
        root = open_url(self.url)[1]
        with self._told("read"):
            found = fs.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
        names = (
            str(info.path).removeprefix(root).lstrip("/")
            for info in found
            if info.type == FileType.File
        )
        return sorted(n for n in names if n.startswith(prefix) and not n.endswith(_PART_SUFFIX))

    def local_path(self, name: str) -> Path | None:
        """Returns where ``name`` lies on a mounted file system; None for a store behind a URL."""
        fs, path = self._at(name)
        return Path(path) if fs.type_name == "local" else None

    def check(self) -> None:
        """Writes, reads and deletes a small file.

        Raises:
            OutputError: One of that fails here; with what to do.
        """
        name, token = f".check/{uuid.uuid4().hex}", uuid.uuid4().bytes
        self.put_bytes(name, token)
        if self.get_bytes(name) != token:
            raise OutputError(f"{self} gives back something else than was written. {_ADVICE}")
        self.delete(name)

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        fs, path = self._at(name)
        is_store = fs.type_name in _OBJECT_STORES
        target = path if is_store else f"{path}.{uuid.uuid4().hex[:12]}{_PART_SUFFIX}"
        in_store = False
        with self._told("written"):
            try:
                if not is_store:
                    fs.create_dir(path.rpartition("/")[0], recursive=True)
                with fs.open_output_stream(target) as sink:
                    for chunk in chunks:
                        in_store = True
                        sink.write(chunk)
                        in_store = False
                    in_store = True
                if not is_store:
                    fs.move(target, path)
            except BaseException:
                # A store drops what failed in itself, but takes what we broke off for whole.
                if not (is_store and in_store):
                    with suppress(Exception):  # it may never have come to be
                        fs.delete_file(target)
                raise

    @contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        """Gives a stream, or None if there is no such name."""
        fs, path = self._at(name)
        with self._told("read"):
            try:
                stream = fs.open_input_stream(path)
            except FileNotFoundError:
                yield None
                return
            with stream:
                yield stream

    def _at(self, name: str) -> tuple[FileSystem, str]:
        parts = name.split("/")
        if any(part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in parts):
            raise ConfigError(
                f"A name in shared storage is made of parts joined by '/', none of them empty, "
                f"'.' or '..'; got {name!r}."
            )
        fs, root = open_url(self.url)
        return fs, f"{root}/{name}"

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Turns whatever a driver raises into one clear error."""
        try:
            yield
        except EnergyTuneError:
            raise
        except Exception as error:
            raise self._failed(done, error) from error

    def _failed(self, done: str, error: Exception) -> OutputError:
        return OutputError(
            f"The shared storage {self} can't be {done}: {first_line(error)}. {_ADVICE}"
        )


_ADVICE = (
    "Check that the folder or bucket is there, that this machine reaches it and that its "
    "credentials allow it, or choose another --storage-path."
)


def _chunks(source: Any, failed: Callable[[Exception], OutputError]) -> Iterator[bytes]:
    """Yields what ``source`` holds, part by part; what it raises is told by ``failed``."""
    while True:
        try:
            chunk = source.read(_CHUNK_BYTES)
        except Exception as error:
            raise failed(error) from error
        if not chunk:
            return
        yield chunk


def _unreadable(path: Path, error: Exception) -> OutputError:
    why = getattr(error, "strerror", None) or error
    return OutputError(f"{path} can't be read to be shared: {why}.")
