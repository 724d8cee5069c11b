"""Folders of the feature store: made sure to be on disk, and removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["remove_entry", "sync_folder"]


def remove_entry(path: Path) -> None:
    """Removes a folder or a file; one that is gone already is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
