"""The ``energytune`` command with a timer around its study; used by search_overhead.py.

Writes ``study_seconds.json`` into the current folder: the driver's seconds in asking, telling,
pruning and writing to the study's storage.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from energytune.cli.main import main
from energytune.optimizer import StudySource

spent = {"seconds": 0.0, "calls": 0}


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a method of the study's source."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            spent["seconds"] += perf_counter() - started
            spent["calls"] += 1

    return wrapper


if __name__ == "__main__":
    for name in ("next_job", "on_events", "on_end"):
        setattr(StudySource, name, timed(getattr(StudySource, name)))
    try:
        main()
    finally:
        Path("study_seconds.json").write_text(json.dumps(spent))
