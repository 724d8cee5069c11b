"""Where energytune keeps what can be made again: one cache folder a user."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Returns the cache folder: ``$ENERGYTUNE_CACHE``, else the platform's user cache.

    Nothing is created. Everything in it can be deleted; it is made again when needed.
    """
    named = os.environ.get("ENERGYTUNE_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("energytune"))
