"""The evidence of a test as a file without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from energytune.errors import DataError
from energytune.paths import atomic_file
from energytune.tasks.evidence import Evidence

__all__ = ["evidence_name", "read_evidence", "write_evidence"]


def evidence_name(confirmation_id: str) -> str:
    """Returns the name of the file beside the weights of a confirmation."""
    return f"{confirmation_id}.test.safetensors"


def write_evidence(path: Path, evidence: Evidence) -> Path:
    """Writes evidence as safetensors, whole or not at all; returns the absolute path.

    Raises:
        OutputError: The file can't be written.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in evidence.arrays.items()}
    with atomic_file(path, "Free some space or choose another --out.") as file:
        file.write(save(arrays, metadata={"metric": evidence.metric}))
    return path.absolute()


def read_evidence(path: Path) -> Evidence:
    """Reads what :func:`write_evidence` wrote.

    Raises:
        DataError: The file is not there, or is damaged.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            metric = (file.metadata() or {}).get("metric", "")
            return Evidence(metric, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError) as failure:
        raise DataError(
            f"{path} can't be read as a record of test examples ({failure}). Test the model again."
        ) from failure
