"""Reads MATLAB's .mat files, in which some datasets keep their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from energytune.errors import DataError

__all__ = ["read_mat"]


def read_mat(path: Path, key: str) -> Any:
    """Returns a variable of a .mat file as an array of at least one dimension.

    Raises:
        DataError: The file is damaged or has no such variable.
    """
    import numpy as np
    from scipy.io import loadmat

    try:
        variables = loadmat(path, squeeze_me=True)
    except Exception as error:  # a damaged file can break the reader anywhere
        raise DataError(
            f"{path} can't be read as a .mat file: {type(error).__name__}: {error}. Fetch it again."
        ) from error
    if key not in variables:
        held = ", ".join(sorted(name for name in variables if not name.startswith("__")))
        raise DataError(f"{path} must hold the variable {key!r}, got {held or 'none'}.")
    return np.atleast_1d(variables[key])
