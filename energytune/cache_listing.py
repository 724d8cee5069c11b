"""What lies in the cache folder, and how it is removed.

Everything in it is made again when it is needed, so removing costs time and nothing else. What
is being built is left alone, and so is what this package has not put there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energytune.errors import OutputError
from energytune.json_text import read_json
from energytune.training.feature_entry import META_NAME
from energytune.training.feature_store import BUILDING_SUFFIX, LEASE_SUFFIX, FeatureStore

__all__ = ["CACHE_KINDS", "CacheItem", "Cleared", "clear_cache", "list_cache"]

CACHE_KINDS = {
    "features": "what the frozen part of a backbone gives",
    "trajectories": "snapshots of head probing",
    "micro-batches": "how many samples fitted into memory at once, where a whole batch did not",
    "backbones": "embedded backbones, pretrained on this machine",
    "data": "embedded data, and notes on downloads that were checked",
    "mlflow": "the empty tracking store that new ones are copied from",
}
"""Folder under the cache -> what is in it."""


@dataclass(frozen=True)
class CacheItem:
    """One thing that can be removed.

    Attributes:
        kind: A key of :data:`CACHE_KINDS`.
        path: File or folder.
        what: What it is, for a person.
        n_bytes: Its size.
        used_at: When it was last written, or read where that is noted; seconds since 1970.
        building: Whether a process builds it, or has been killed while it did.
    """

    kind: str
    path: Path
    what: str
    n_bytes: int
    used_at: float
    building: bool = False

    def unused_for_s(self, now: float) -> float:
        """Returns the seconds since it was used, >= 0; 0 if it is from the future."""
        return max(0.0, now - self.used_at)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {**self.__dict__, "path": str(self.path)}


@dataclass(frozen=True)
class Cleared:
    """What a :func:`clear_cache` has done.

    Attributes:
        removed: What is gone.
        building: What was left because it is being built.
    """

    removed: tuple[CacheItem, ...]
    building: tuple[CacheItem, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes that were freed."""
        return sum(item.n_bytes for item in self.removed)


def list_cache(root: Path, kinds: Collection[str] = CACHE_KINDS.keys()) -> list[CacheItem]:
    """Returns what lies in a cache folder, kind by kind, the last used first.

    Args:
        root: The cache folder; need not exist.
        kinds: Keys of :data:`CACHE_KINDS`.
    """
    items: list[CacheItem] = []
    for kind in CACHE_KINDS:
        if kind in kinds:
            items += sorted(_items(root / kind, kind), key=lambda item: -item.used_at)
    return items


def clear_cache(
    root: Path,
    kinds: Collection[str] = CACHE_KINDS.keys(),
    *,
    unused_for_s: float = 0.0,
    now: float | None = None,
) -> Cleared:
    """Removes what lies in a cache folder.

    Args:
        root: The cache folder; need not exist.
        kinds: Keys of :data:`CACHE_KINDS`; others are left.
        unused_for_s: Only what was not used for so many seconds, >= 0.
        now: Seconds since 1970; None asks the clock.

    Raises:
        OutputError: If something can't be removed.
    """
    now = time.time() if now is None else now
    store = FeatureStore(root / "features")
    removed: list[CacheItem] = []
    building: list[CacheItem] = []
    for item in list_cache(root, kinds):
        if item.unused_for_s(now) < unused_for_s:
            continue
        if item.kind == "features" and not store.remove(_key(item.path)):
            building.append(item)
            continue
        _remove(item.path)
        removed.append(item)
    return Cleared(tuple(removed), tuple(building))


def _items(folder: Path, kind: str) -> Iterator[CacheItem]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    leased = {_key(path) for path in paths if path.suffix == LEASE_SUFFIX}
    for path in paths:
        if path.name.startswith(".") or (kind == "features" and path.suffix == LEASE_SUFFIX):
            continue  # locks
        n_bytes, used_at = _size_and_time(path)
        building = kind == "features" and _key(path) in leased
        yield CacheItem(kind, path, _what(path, kind), n_bytes, used_at, building)


def _what(path: Path, kind: str) -> str:
    if kind == "trajectories":
        names = [file.stem[1:] for file in path.glob("e*.safetensors")]
        last = max((int(name) for name in names if name.isdigit()), default=0)
        return f"{len(names)} snapshots up to epoch {last}"
    if kind == "micro-batches":
        return _fitted(path)
    if kind != "features":
        return path.name
    if path.suffix == BUILDING_SUFFIX:
        return "an unfinished build"
    try:
        meta = read_json(path / META_NAME)
        parts = meta["parts"]
        name = "{dataset} / {backbone} / depth {reinit_depth} / {split}".format(**parts)
        views = f", {parts['n_views']} views" if parts["n_views"] > 1 else ""
        return f"{name} {tuple(meta['shape'][1:])}{views}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of another version, or damaged"


def _fitted(path: Path) -> str:
    try:
        note = read_json(path)
        return "{n} of {shape[largest]} for {shape[backbone]} / {shape[head_arch]}".format(
            n=note["n_samples"], shape=note["shape"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "of another version, or damaged"


def _key(path: Path) -> str:
    """Returns the key that an entry, a lease or a build in the features' folder belongs to."""
    return path.name.partition(".")[0]


def _size_and_time(path: Path) -> tuple[int, float]:
    n_bytes, used_at = 0, 0.0
    for file in (path, *(path.rglob("*") if path.is_dir() else ())):
        try:
            state = file.stat()
        except OSError:
            continue  # it is changed while it is listed
        used_at = max(used_at, state.st_mtime)
        n_bytes += 0 if file.is_dir() else state.st_size
    return n_bytes, used_at


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass  # the store has removed it already
    except OSError as error:
        raise OutputError(f"{path} can't be removed: {error.strerror or error}.") from error
