"""Features at a cut, computed once and kept on disk by content."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from energytune.data import Split
from energytune.errors import OutputError
from energytune.models import TaskModel
from energytune.paths import CACHE_ADVICE, atomic_file, existing_parent

__all__ = ["FeatureStore", "content_key", "extract_features"]

_FORMAT = 1


def content_key(**parts: Any) -> str:
    """Returns 32 hex digits that address a value by everything it depends on (JSON values)."""
    text = json.dumps({"format": _FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeatureStore:
    """Arrays in float16 under ``root``, one file a key, written atomically.

    Several processes may build the same key at once: each writes a file of its own and renames
    it into place, and all of them hold the same numbers.

    Args:
        root: Folder; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str, n_samples: int, compute: Callable[[], Tensor]) -> Tensor:
        """Returns the features of ``key``, float32 (N, ...), from disk or newly computed.

        They are rounded to float16 once, on the way to disk, and also when they come straight
        from ``compute``: a first run and a later one see the same numbers. A file that can't be
        read or does not hold ``n_samples`` rows is built again.

        Raises:
            OutputError: If the disk is full or the folder can't be written.
        """
        path = self._root / f"{key}.npy"
        stored = self._load(path, n_samples)
        if stored is None:
            stored = compute().to(torch.float16).numpy()
            self._save(path, stored)
        return torch.from_numpy(np.asarray(stored, dtype=np.float32))

    @staticmethod
    def _load(path: Path, n_samples: int) -> np.ndarray[Any, Any] | None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = array.dtype == np.float16 and array.ndim >= 2 and len(array) == n_samples
        return array if fits else None

    def _save(self, path: Path, array: np.ndarray[Any, Any]) -> None:
        n_free_bytes = shutil.disk_usage(existing_parent(self._root)).free
        if array.nbytes > n_free_bytes:
            raise OutputError(
                f"The cached features need {array.nbytes:,} bytes and {self._root} has "
                f"{n_free_bytes:,} free. {CACHE_ADVICE}"
            )
        with atomic_file(path, CACHE_ADVICE) as file:
            np.save(file, array, allow_pickle=False)


def extract_features(
    model: TaskModel,
    split: Split,
    *,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], object] | None = None,
) -> Tensor:
    """Returns the features of all samples at the model's cut, (N, ...) float32 on the CPU.

    The whole model is in evaluation mode while this runs, so that batch norm and dropout neither
    drift nor draw; inputs are not augmented.

    Args:
        model: Its prefix gives the features; moved to ``device``.
        split: Samples, taken in the split's order.
        batch_size: Samples a forward pass.
        device: Where the forward passes run.
        advance: Told the number of samples done after each batch.
    """
    model.to(device).eval()
    parts: list[Tensor] = []
    with torch.no_grad():
        for inputs, _ in split.batches(batch_size):
            parts.append(model.features(inputs.to(device, non_blocking=True)).float().cpu())
            if advance is not None:
                advance(len(inputs))
    return torch.cat(parts)
