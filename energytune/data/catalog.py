"""The datasets there are, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

import platformdirs

from energytune.config import InputConfig
from energytune.data import (
    entries_embedded,
    entries_images,
    entries_molecules,
    entries_segmentation,
)
from energytune.data.entry import DatasetEntry, Family, LoadRequest
from energytune.errors import ConfigError, UnknownNameError, unknown_name
from energytune.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from energytune.data.splits import Splits

__all__ = [
    "DATASETS",
    "OPEN_DATASETS",
    "DatasetEntry",
    "absolute_name",
    "dataset_status",
    "default_data_root",
    "ensure_dataset",
    "get_dataset",
    "load_dataset",
]


def _by_name(entries: Iterable[DatasetEntry]) -> dict[str, DatasetEntry]:
    named: dict[str, DatasetEntry] = {}
    for entry in entries:
        if entry.name in named:
            raise ConfigError(f"Two datasets are called {entry.name!r}. Rename one of them.")
        named[entry.name] = entry
    return named


DATASETS: dict[str, DatasetEntry] = _by_name(
    (
        *entries_embedded.ENTRIES,
        *entries_molecules.ENTRIES,
        *entries_segmentation.ENTRIES,
        *entries_images.ENTRIES,
    )
)
"""Every dataset with a name of its own."""

OPEN_DATASETS: dict[str, Callable[[str], DatasetEntry]] = {
    **entries_images.OPEN,
    **entries_molecules.OPEN,
    **entries_segmentation.OPEN,
}
"""Prefixes of names that say where the data are, as in ``folder:PATH``."""


_MAX_PART, _MAX_PATH = 255, 4000


def default_data_root() -> Path:
    """Returns the folder for datasets: ``$ENERGYTUNE_DATA``, else the user's data folder."""
    named = os.environ.get("ENERGYTUNE_DATA")
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir("energytune"))


def get_dataset(name: str) -> DatasetEntry:
    """Returns the entry of ``name``, or of what a name such as ``folder:PATH`` points to.

    Raises:
        UnknownNameError: No dataset has that name; names those that are spelled alike.
        ConfigError: The name has a known prefix and nothing behind it.
    """
    if name in DATASETS:
        return DATASETS[name]
    prefix, colon, rest = name.partition(":")
    if colon and prefix in OPEN_DATASETS:
        if not rest:
            raise ConfigError(f"{name!r} lacks what {prefix!r} points to: write {prefix}:PATH.")
        _check_path(name, rest.partition("?")[0])
        return OPEN_DATASETS[prefix](name)
    raise unknown_dataset(name)


def _check_path(name: str, path: str) -> None:
    """Raises ConfigError for what no system takes as a path."""
    longest = max(len(part.encode("utf-8", "replace")) for part in path.split("/"))
    if "\0" in path or longest > _MAX_PART or len(path) > _MAX_PATH:
        raise ConfigError(
            f"{name!r} points to what can't be a path: it has a zero byte, more than {_MAX_PATH} "
            f"letters, or more than {_MAX_PART} bytes between two slashes. Correct it."
        )


def absolute_name(name: str) -> str:
    """Returns a name that means the same in every folder: ``folder:pets`` with a whole path.

    Names that point to no path stay as they are.
    """
    entry = None if name in DATASETS or ":" not in name else get_dataset(name)
    if entry is None or not Path(entry.where).is_absolute():
        return name
    prefix, _, rest = name.partition(":")
    options = rest.partition("?")[2]
    return f"{prefix}:{entry.where}" + (f"?{options}" if options else "")


def unknown_dataset(name: str) -> UnknownNameError:
    """Builds the error for a name that is no dataset."""
    known = [*DATASETS, *(f"{prefix}:" for prefix in OPEN_DATASETS)]
    return unknown_name("dataset", name, known, hint="List them all with: energytune datasets")


def dataset_status(entry: DatasetEntry, data_root: Path | None = None) -> tuple[bool, str]:
    """Looks whether a dataset is on this machine, without reading it.

    Args:
        entry: Which dataset.
        data_root: Folder that holds the datasets' folders; None is the default one.

    Returns:
        Whether it can be loaded without a download, and a few words with the paths.
    """
    return _family(entry).status(entry, data_root or default_data_root())


def ensure_dataset(
    name: str,
    data_root: Path | None = None,
    *,
    download: bool = True,
    progress: Progress | None = None,
) -> None:
    """Makes sure that a dataset's files are on this machine, without reading them.

    Args:
        name: One of :data:`DATASETS`, or a name such as ``folder:PATH``.
        data_root: Folder that holds the datasets' folders; None is the default one.
        download: Whether missing files are downloaded.
        progress: Watches a download.

    Raises:
        UnknownNameError: No dataset has that name.
        MissingDataError: Files are missing and could not be downloaded.
        OutputError: A download can't be written.
    """
    entry = get_dataset(name)
    if not entry.embedded:
        _family(entry).ensure(
            entry,
            data_root or default_data_root(),
            download=download,
            progress=progress or NO_PROGRESS,
        )


def load_dataset(
    name: str,
    *,
    data_root: Path | None = None,
    input_config: InputConfig | None = None,
    download: bool = True,
    loader_workers: int | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Loads a dataset by name.

    Args:
        name: One of :data:`DATASETS`, or a name such as ``folder:PATH``.
        data_root: Folder that holds the datasets' folders; None is the default one. Embedded
            datasets need none.
        input_config: What the backbone expects of images; embedded datasets have their own.
        download: Whether a missing dataset is downloaded.
        loader_workers: Processes that read images; None chooses.
        progress: Watches a download.

    Raises:
        UnknownNameError: No dataset has that name.
        MissingDataError: The data are not on this machine and could not be downloaded.
        DataError: The data are damaged or break a rule.
        OutputError: A download can't be written.
    """
    entry = get_dataset(name)
    # Before heavy libraries are imported: what is missing should be told at once.
    ensure_dataset(name, data_root, download=download, progress=progress)
    request = LoadRequest(
        root=data_root or default_data_root(),
        input_config=input_config or InputConfig(),
        loader_workers=loader_workers,
        progress=progress or NO_PROGRESS,
    )
    return _family(entry).load(entry, request)


def _family(entry: DatasetEntry) -> Family:
    return cast(Family, import_module(f"energytune.data.{entry.family}"))
