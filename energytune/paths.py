"""Where energytune keeps what can be made again, and how files come to be: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from energytune.errors import EnergyTuneError, OutputError

__all__ = ["CACHE_ADVICE", "atomic_file", "cache_dir", "existing_parent"]

CACHE_ADVICE = "Free some space, or point ENERGYTUNE_CACHE to another folder."


def cache_dir() -> Path:
    """Returns the cache folder: ``$ENERGYTUNE_CACHE``, else the platform's user cache.

    Nothing is created. Everything in it can be deleted; it is made again when needed.
    """
    named = os.environ.get("ENERGYTUNE_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("energytune"))


def existing_parent(path: Path) -> Path:
    """Returns ``path`` or its nearest ancestor that exists."""
    path = path.absolute()
    return path if path.exists() else existing_parent(path.parent)


@contextmanager
def atomic_file(path: Path, advice: str) -> Iterator[BinaryIO]:
    """Opens a file that appears at ``path``, whole, when the block ends without an error.

    Args:
        path: Where it appears; its folder is made.
        advice: What the user can do if it can't be written, a sentence.

    Raises:
        OutputError: If the disk is full or the folder can't be written.
    """
    partial: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(partial, path)
        partial = None
    except OSError as error:
        if isinstance(error, EnergyTuneError):
            raise
        raise OutputError(
            f"{path} can't be written: {error.strerror or error}. {advice}"
        ) from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
