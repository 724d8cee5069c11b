"""Where the files of a dataset are looked for, and which are there."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from energytune.data.entry import DatasetEntry
from energytune.data.missing_files import Wanted

__all__ = ["looked_for"]


def looked_for(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Returns what a dataset is read from; empty where its family does not say.

    A family says it with a function ``wanted(entry, root)``.

    Args:
        entry: Which dataset.
        root: Folder that holds the datasets' folders.
    """
    family = import_module(f"energytune.data.{entry.family}")
    wanted = getattr(family, "wanted", None)
    return list(wanted(entry, root)) if wanted is not None else []
