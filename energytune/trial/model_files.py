"""The files of confirmed models: in the search's folder, or on their way there through storage.

The process that trains a model may be on a node that does not see the search's folder. Then it
writes into its own cache, hands the file to the shared storage and keeps nothing; the driver
fetches what it needs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import OutputError
from energytune.storage import SharedStorage

__all__ = ["ModelFiles"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """Files of one search, by name: ``"c001-s1000.safetensors"``.

    Attributes:
        folder: The search's folder of models, by its path on the driver.
        storage: Through which they travel; None if every node sees ``folder``.
        prefix: Of their names in the storage, with a slash at its end.
        scratch: Where a worker keeps a file for as long as it is used; only with a storage.
    """

    folder: Path
    storage: SharedStorage | None = None
    prefix: str = ""
    scratch: Path | None = None

    @classmethod
    def of_search(
        cls, folder: Path, storage_path: str | None, search_id: str, cache: Path | None = None
    ) -> ModelFiles:
        """Returns the files of a search.

        Args:
            folder: Its folder of models.
            storage_path: Shared storage; None if there is none.
            search_id: Its identity among all searches.
            cache: A worker's own cache; None for the driver.
        """
        if storage_path is None:
            return cls(folder)
        prefix = f"searches/{search_id or 'unnamed'}/models"
        scratch = cache / prefix if cache is not None else None
        return cls(folder, SharedStorage(storage_path), f"{prefix}/", scratch)

    def path(self, name: str) -> Path:
        """Returns where this process writes the file before it publishes it."""
        return (self.scratch or self.folder) / name

    def publish(self, name: str) -> str:
        """Hands a written file on, and returns the absolute path where the driver will have it.

        Raises:
            OutputError: The storage can't be written.
        """
        if self.storage is not None:
            self.storage.put(self.prefix + name, self.path(name))
            self.release(name)
        return str((self.folder / name).absolute())

    def find(self, name: str) -> Path | None:
        """Returns the file's path in this process, fetched if need be; None if there is none.

        Raises:
            OutputError: The storage can't be read, or the disk is full.
        """
        path = self.path(name)
        if path.exists():
            return path
        if self.storage is not None and self.storage.fetch(self.prefix + name, path):
            return path
        return None

    def release(self, name: str) -> None:
        """Deletes a worker's own copy; the file stays where others find it."""
        if self.scratch is not None:
            self.path(name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Returns whether the file is here or in the storage.

        Raises:
            OutputError: The storage can't be read.
        """
        if self.path(name).exists():
            return True
        return self.storage is not None and self.storage.exists(self.prefix + name)

    def delete(self, name: str) -> None:
        """Deletes the file here and in the storage; what can't be deleted stays."""
        self.path(name).unlink(missing_ok=True)
        if self.storage is not None:
            try:
                self.storage.delete(self.prefix + name)
            except OutputError as error:
                _LOG.warning("%s stays in the shared storage: %s", name, error)

    def delete_all(self, prefix: str) -> None:
        """Deletes all files in the storage whose names begin with ``prefix``.

        Raises:
            OutputError: The storage can't be read or written.
        """
        if self.storage is not None:
            for name in self.storage.names(self.prefix + prefix):
                self.storage.delete(name)
