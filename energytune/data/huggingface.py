"""Image datasets of the Hugging Face Hub, or on this machine in one of its forms.

``hf:NAME`` is a dataset of the Hub. ``hf:PATH`` is a folder on this machine: a dataset that was
saved with ``save_to_disk``, or Parquet files, or whatever else ``datasets.load_dataset`` reads
without running code of the dataset's own.

Options behind a question mark say what can't be guessed: ``hf:cifar100?label=fine_label``.

A dataset of the Hub that is in the library's cache is read from there, without asking whether it
has changed since: a search must see the same data from its first to its last trial.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.missing_files import Wanted, want
from energytune.data.name_options import HF_OPTIONS, is_path, parse_name
from energytune.data.reach import unreachable
from energytune.errors import ConfigError, MissingDataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.splits import Splits

__all__ = ["cached_folder", "ensure", "load", "status", "wanted"]


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for the folder, or for the dataset in the library's cache."""
    if is_path(entry.where):
        return [want(Path(entry.where))]
    config = parse_name(entry.name, HF_OPTIONS).options.get("config")
    found = cached_folder(entry.where, config)
    return [Wanted(found or _cache_root(), found is not None, "the library's cache")]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the dataset, as ``Family`` says."""
    [item] = wanted(entry, root)
    if is_path(entry.where):
        return item.there, f"in {item.path}" if item.there else f"not there: {item.path}"
    return item.there, f"{'' if item.there else 'not '}in the cache {item.path}"


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Downloads a dataset of the Hub that is not in the cache, as ``Family`` says.

    Raises:
        ConfigError: The library is not installed.
    """
    if find_spec("datasets") is None:
        raise ConfigError(
            f"Dataset {entry.name!r} is read with the library 'datasets', which is not installed. "
            f"Install it with: {sys.executable} -m pip install 'energytune[hf]'"
        )
    [item] = wanted(entry, root)
    if item.there:
        return
    if is_path(entry.where):
        raise MissingDataError(
            f"Dataset {entry.name!r}: there is no folder {item.path}, or it is empty."
        )
    way_out = (
        "On a machine with a connection, save it with datasets.load_dataset("
        f"{entry.where!r}).save_to_disk(FOLDER), copy the folder here and name it: hf:FOLDER."
    )
    why = "It is not to be downloaded."
    if download:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        reason = unreachable(endpoint)
        if not reason:
            from energytune.data.huggingface_tables import read_tables

            with progress.stage(f"downloading {entry.where}", None):
                read_tables(entry, offline=False)
            return
        why = f"{endpoint} can't be reached: {reason}."
    raise MissingDataError(
        f"Dataset {entry.name!r} is not on this machine: {item.path} does not hold it. {why} "
        f"{way_out}"
    )


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the splits, as ``Family`` says."""
    from energytune.data.huggingface_tables import read_tables, table_splits

    options = parse_name(entry.name, HF_OPTIONS).options
    return table_splits(entry, read_tables(entry, offline=True), options, request)


def cached_folder(name: str, config: str | None = None) -> Path | None:
    """Returns where the library keeps a dataset of the Hub; None if it does not.

    Args:
        name: Of the dataset.
        config: Which of its configurations; None is content with any.
    """
    namespace, slash, base = name.rpartition("/")
    base = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", base)
    base = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", base).lower()
    folder = _cache_root() / f"{namespace}{'___' if slash else ''}{base}"
    # Config, version and hash; a download that broke off leaves no such file.
    infos: Iterable[Path] = folder.glob(f"{config or '*'}/*/*/dataset_info.json")
    return folder if next(iter(infos), None) is not None else None


def _cache_root() -> Path:
    """Returns the library's cache folder, as the library finds it, without importing it."""
    named = os.environ.get("HF_DATASETS_CACHE")
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{cache}/huggingface")
    return Path(home).expanduser() / "datasets"
