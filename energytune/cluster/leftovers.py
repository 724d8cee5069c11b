"""What a search that was killed has left of its private Ray in the temporary folder."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["PREFIX", "drop_stale_folders"]

PREFIX = "ets-"
"""Begins the names of our private Rays' folders."""


def drop_stale_folders(root: Path) -> int:
    """Deletes the folders of private Rays whose driver is gone; returns how many.

    Ray writes the driver's process number into the name of its session. A folder of another user,
    or without a session, is left alone.

    Args:
        root: Where they lie.
    """
    n_dropped = 0
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid() or folder.is_symlink():
                continue
            numbers = [re.fullmatch(r"session_.*_(\d+)", p.name) for p in folder.glob("session_2*")]
            drivers = [int(hit[1]) for hit in numbers if hit]
            if drivers and not any(_lives(pid) for pid in drivers):
                shutil.rmtree(folder, ignore_errors=True)
                n_dropped += 1
    return n_dropped


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
