"""Lets SQLite know how large the tables of the default store are.

Without that it joins runs with their metrics by comparing each with each: a page of the best of
10,000 runs took 4.3 s, and 0.04 s after this (which took 0.03 s).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

from energytune.tracking.store import sqlite_path

__all__ = ["refresh_statistics"]

_ROWS_READ = 1000
"""Rows of an index that are read at most, so that a large store takes no longer."""


def refresh_statistics(uri: str) -> None:
    """Counts the rows of a SQLite store for its query planner; does nothing for other stores.

    A store that is not there, can't be written or is being written for longer than a second is
    left as it is: it is slower, and right.

    Args:
        uri: The store's.
    """
    path = sqlite_path(uri)
    if path is None or not path.exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1.0)) as store, store:
        store.execute(f"PRAGMA analysis_limit = {_ROWS_READ}")
        store.execute("ANALYZE")
