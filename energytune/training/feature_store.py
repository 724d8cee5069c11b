"""Features on disk, addressed by content; built by one process, read by all.

A key is a folder with the array and what is known of it (:mod:`.feature_entry`). It is built in a
folder beside it and renamed as a whole, so it is there entirely or not at all. A lease tells the
others that somebody builds: they wait and read. The lease saves work and no more: if it is ever
broken wrongly, two processes build the same numbers, and one of them throws its own away.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from energytune import __version__
from energytune.errors import EnergyTuneError, OutputError
from energytune.paths import CACHE_ADVICE, existing_parent
from energytune.storage import SharedStorage
from energytune.training.feature_entry import (
    DATA_NAME,
    META_NAME,
    DamagedEntry,
    StoredFeatures,
    Written,
    read_entry,
    write_meta,
)
from energytune.training.feature_folders import remove_entry, sync_folder
from energytune.training.shared_features import SharedFeatures

__all__ = ["BUILDING_SUFFIX", "LEASE_SUFFIX", "FeatureStore"]

BUILDING_SUFFIX = ".building"
"""Ends the folders of builds that go on, or were killed."""
LEASE_SUFFIX = ".lease"
"""Ends the files that say that somebody builds."""

_LOG = logging.getLogger(__name__)
_STALE_S = 60.0
_POLL_S = 0.2
_OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class _Superseded(Exception):  # noqa: N818 - no user sees it
    """This process was silent for so long that another one took over and swept its files away."""


class FeatureStore:
    """Entries under ``root``, safe for several processes and nodes.

    Args:
        root: Folder; made when needed.
        stale_s: Seconds without a sign of life, by the waiter's own clock, after which a builder
            counts as dead; one on the same host whose process is gone counts at once. All
            processes must agree on it.
        shared: Where nodes hand entries to one another: looked up before anything is built, and
            given what was built. None is a store that all see, or of one node.
    """

    def __init__(
        self, root: Path, *, stale_s: float = _STALE_S, shared: SharedStorage | None = None
    ) -> None:
        self._root, self._stale_s = root, stale_s
        self._shared = None if shared is None else SharedFeatures(shared, stale_s=stale_s)

    def find(self, key: str, n_views: int, n_samples: int) -> StoredFeatures | None:
        """Returns the whole entry of ``key`` with so many stored views and samples, or None.

        Reading it marks it as used. Other nodes are offered it.
        """
        try:
            stored = self._open(key, n_views, n_samples, verify=True)
        except DamagedEntry:
            return None
        if stored is not None and self._shared:
            self._shared.offer(key, self._root / key)
        return stored

    def get(
        self,
        key: str,
        n_views: int,
        n_samples: int,
        *,
        n_bytes: int,
        parts: dict[str, Any],
        write: Callable[[Path], Written],
        on_wait: Callable[[], object] = lambda: None,
    ) -> StoredFeatures:
        """Returns the entry of ``key``; one process builds it, the others wait and read.

        Args:
            key: Content address.
            n_views: Views that the entry must hold.
            n_samples: Samples that the entry must hold.
            n_bytes: About what it needs; told before anything is written if the disk lacks them.
            parts: Readable parts of the key (JSON values).
            write: Writes the array into the folder it is given.
            on_wait: Called once if another process is building.

        Raises:
            OutputError: If the disk is full or the folder can't be written; nothing is left.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            while True:
                lease = self._lease(key)
                stored = self._wait(lease, key, n_views, n_samples, on_wait)
                if stored is not None:
                    return stored
                try:
                    return self._get_or_build(key, n_views, n_samples, n_bytes, parts, write)
                except _Superseded:
                    continue  # another process builds now: wait for it
                finally:
                    lease.release()
        except OSError as error:
            if isinstance(error, EnergyTuneError):
                raise
            raise OutputError(
                f"{self._root / key} can't be written: {error.strerror or error}. {CACHE_ADVICE}"
            ) from error

    def remove(self, key: str) -> bool:
        """Removes an entry, whole or damaged, and what killed builders of it have left.

        Returns:
            False if somebody builds it, which is left alone.

        Raises:
            OutputError: If the folder can't be written.
        """
        lease = self._lease(key)
        try:
            lease.acquire(timeout=0)
            try:
                self._set_aside(key)
                self._sweep(key)
            finally:
                lease.release()
        except Timeout:
            return False
        except OSError as error:
            raise OutputError(
                f"{self._root / key} can't be removed: {error.strerror or error}."
            ) from error
        return True

    def used_bytes(self) -> int:
        """Returns the bytes that all entries hold."""
        return sum(path.stat().st_size for path in self._root.glob(f"*/{DATA_NAME}"))

    def _lease(self, key: str) -> SoftFileLease:
        path = self._root / f"{key}{LEASE_SUFFIX}"
        return SoftFileLease(
            path, lease_duration=self._stale_s, thread_local=False, is_singleton=False
        )

    def _wait(
        self,
        lease: SoftFileLease,
        key: str,
        n_views: int,
        n_samples: int,
        on_wait: Callable[[], object],
    ) -> StoredFeatures | None:
        """Returns what another process has built, or None with the lease held."""
        told = False
        while True:
            try:
                lease.acquire(timeout=_POLL_S if told else 0, poll_interval=_POLL_S / 2)
                return None
            except Timeout:
                if not told:
                    on_wait()
                told = True
            try:
                stored = self._open(key, n_views, n_samples, verify=False)
            except DamagedEntry:
                continue  # whoever holds the lease is about to replace it
            if stored is not None:
                return stored

    def _get_or_build(
        self,
        key: str,
        n_views: int,
        n_samples: int,
        n_bytes: int,
        parts: dict[str, Any],
        write: Callable[[Path], Written],
    ) -> StoredFeatures:
        try:
            stored = self._open(key, n_views, n_samples, verify=True)
        except DamagedEntry as damage:
            _LOG.warning("Cached features %s are built again: %s.", self._root / key, damage)
            self._set_aside(key)
            stored = None
        if stored is not None:
            return stored
        self._sweep(key)
        n_free = shutil.disk_usage(existing_parent(self._root)).free
        if n_bytes > n_free:
            raise OutputError(
                f"The cached features need {n_bytes:,} bytes and {self._root} has {n_free:,} "
                f"free. {CACHE_ADVICE}"
            )
        with self._shared.lease(key) if self._shared else nullcontext():
            stored = self._fetch(key, n_views, n_samples)
            if stored is None:
                stored = self._build(key, n_views, n_samples, parts, write)
                if self._shared:
                    self._shared.share(key, self._root / key)
        return stored

    def _fetch(self, key: str, n_views: int, n_samples: int) -> StoredFeatures | None:
        """Takes over what another node has built; None if there is nothing whole."""
        if self._shared is None:
            return None
        try:
            with self._partial(key) as partial:
                if not self._shared.fetch(key, partial):
                    return None
                self._publish(partial, key, n_views, n_samples)
            return self._open(key, n_views, n_samples, verify=True)
        except DamagedEntry as damage:
            _LOG.warning("Shared features %s are built again: %s.", key, damage)
            self._set_aside(key)
            return None

    def _build(
        self,
        key: str,
        n_views: int,
        n_samples: int,
        parts: dict[str, Any],
        write: Callable[[Path], Written],
    ) -> StoredFeatures:
        with self._partial(key) as partial:
            started = time.perf_counter()
            written = write(partial)
            seconds = time.perf_counter() - started
            write_meta(partial, written, parts, version=__version__, seconds=seconds)
            self._publish(partial, key, n_views, n_samples)
        try:
            stored = self._open(key, n_views, n_samples, verify=True)
        except DamagedEntry as damage:
            raise OutputError(f"{self._root / key} was written, but {damage}.") from damage
        if stored is None:
            raise OutputError(f"{self._root / key} vanished while it was written. Run again.")
        return stored

    def _open(
        self, key: str, n_views: int, n_samples: int, *, verify: bool
    ) -> StoredFeatures | None:
        stored = read_entry(self._root / key, verify=verify)
        if stored is None:
            return None
        if stored.shape[:2] != (n_views, n_samples):
            raise DamagedEntry(f"it holds {stored.shape[:2]}, not ({n_views}, {n_samples})")
        with suppress(OSError):  # a cache that is only to be read
            os.utime(stored.path.parent / META_NAME)
        return stored

    def _publish(self, partial: Path, key: str, n_views: int, n_samples: int) -> None:
        """Renames a built folder into place; another process's whole entry stays."""
        sync_folder(partial)
        for _ in range(3):
            try:
                os.rename(partial, self._root / key)
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise
            else:
                sync_folder(self._root)
                return
            try:
                if self._open(key, n_views, n_samples, verify=True) is not None:
                    return
            except DamagedEntry:
                self._set_aside(key)
        raise OutputError(f"{self._root / key} is changed by others all the time. Run again.")

    def _set_aside(self, key: str) -> None:
        """Removes what stands at ``key``; it is gone for readers at once."""
        aside = self._beside(key)
        try:
            os.rename(self._root / key, aside)
        except FileNotFoundError:
            return
        remove_entry(aside)

    @contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        """Gives a folder beside the entry, and removes what is left of it.

        Raises:
            _Superseded: The folder was swept away under the one who fills it.
        """
        partial = self._beside(key)
        try:
            partial.mkdir()
            yield partial
        except FileNotFoundError as error:
            if partial.exists():
                raise
            raise _Superseded from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _beside(self, key: str) -> Path:
        return self._root / f"{key}.{uuid.uuid4().hex[:12]}{BUILDING_SUFFIX}"

    def _sweep(self, key: str) -> None:
        """Removes what builders of ``key`` that were killed have left."""
        for path in self._root.glob(f"{key}.*{BUILDING_SUFFIX}"):
            remove_entry(path)
