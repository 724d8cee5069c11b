"""Entries of the feature store that nodes hand to one another through shared storage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease

from energytune.storage import SharedStorage
from energytune.training.feature_entry import DATA_NAME, META_NAME
from energytune.training.sharing import Sharing

__all__ = ["SharedFeatures"]

_FOLDER = "features"
_LOG = logging.getLogger(__name__)


class SharedFeatures:
    """Copies whole entries to shared storage and from it.

    It saves work and no more: where the storage fails, a node builds its own entry.

    Args:
        storage: Where the entries are.
        stale_s: Seconds without a sign of life after which a builder counts as dead.
    """

    def __init__(self, storage: SharedStorage, *, stale_s: float) -> None:
        self._storage, self._stale_s = storage, stale_s
        self._sharing = Sharing(storage)

    def fetch(self, key: str, folder: Path) -> bool:
        """Copies the entry of ``key`` into an empty folder; returns whether there is one.

        Whether it is whole is for the reader to check: the description has the checksum.
        """
        # The description is shared last: where it is, the array is.
        return all(
            self._sharing.fetch(f"{_FOLDER}/{key}/{name}", folder / name)
            for name in (META_NAME, DATA_NAME)
        )

    def share(self, key: str, folder: Path) -> None:
        """Copies a whole entry to the storage; one that is there is replaced."""
        for name in (DATA_NAME, META_NAME):
            self._sharing.put(f"{_FOLDER}/{key}/{name}", folder / name)

    def offer(self, key: str, folder: Path) -> None:
        """Shares a whole entry that the storage lacks: it may be older than the storage."""
        if self._sharing.lacks(f"{_FOLDER}/{key}/{META_NAME}"):
            self.share(key, folder)

    @contextmanager
    def lease(self, key: str) -> Iterator[None]:
        """Waits until no other node builds the entry, and keeps others from it meanwhile.

        Only a mounted folder has leases. In an object store one process of each node builds.
        """
        path = self._storage.local_path(f"{_FOLDER}/{key}.lease")
        if path is None:
            yield
            return
        lease = SoftFileLease(
            path, lease_duration=self._stale_s, thread_local=False, is_singleton=False
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lease.acquire()
        except OSError as error:
            _LOG.warning("Features %s are built without a lease: %s", key, error)
            yield
            return
        try:
            yield
        finally:
            lease.release()
