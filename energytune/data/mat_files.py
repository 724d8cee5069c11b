"""Reads MATLAB's .mat files, in which some datasets keep their labels."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from energytune.errors import DataError
from energytune.json_text import parse_json

__all__ = ["read_mat"]

_LIMIT_S = 300.0


def read_mat(path: Path, key: str) -> Any:
    """Returns a variable of a .mat file as an array of at least one dimension.

    It is read by a process of its own (:mod:`energytune.data.mat_reader`), which a damaged file
    may end.

    Raises:
        DataError: The file is damaged or has no such variable.
    """
    import numpy as np

    try:
        state = path.stat()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    variables = _variables(path, state.st_size, state.st_mtime_ns)
    if key not in variables:
        held = ", ".join(sorted(variables)[:20])
        raise DataError(f"{path} must hold the variable {key!r}, got {held or 'none'}.")
    told = variables[key]
    try:
        if "fields" in told:
            fields = [(str(name), object) for name in told["fields"]]
            return np.array([tuple(row) for row in told["rows"]], dtype=fields)
        return np.array(told["values"])
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"{key!r} is no array of numbers or texts") from error


@lru_cache(maxsize=4)
def _variables(path: Path, n_bytes: int, mtime_ns: int) -> dict[str, Any]:
    """Returns what the reader tells of a file of that size and time of change."""
    reader = Path(__file__).with_name("mat_reader.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(reader), str(path.absolute())],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _damaged(path, f"its reader did not end ({error})") from error
    try:
        told = parse_json(done.stdout)
    except ValueError as error:
        raise _damaged(path, "its reader broke") from error
    if done.returncode or "variables" not in told:
        raise _damaged(path, str(told.get("problem", "its reader broke")))
    variables: dict[str, Any] = told["variables"]
    return variables


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} can't be read as a .mat file: {why}. Fetch it again.")
