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
from energytune.errors import DataError, OutputError
from energytune.models import TaskModel
from energytune.paths import CACHE_ADVICE, atomic_file, existing_parent

__all__ = ["FeatureStore", "content_key", "extract_features"]

_FORMAT = 1


def content_key(**parts: Any) -> str:
    """Returns 32 hex digits that address a value by everything it depends on (JSON values)."""
    text = json.dumps({"format": _FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeatureStore:
    """Arrays in float16 (where they fit) under ``root``, one file a key, written atomically.

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
        from ``compute``: a first run and a later one see the same numbers. Features beyond
        float16's range (65,504) are kept in float32. A file that can't be read or does not hold
        ``n_samples`` rows is built again.

        Raises:
            DataError: If a feature is NaN or infinite.
            OutputError: If the disk is full or the folder can't be written.
        """
        path = self._root / f"{key}.npy"
        stored = self._load(path, n_samples)
        if stored is None:
            stored = _compact(compute()).numpy()
            self._save(path, stored)
        return torch.from_numpy(np.array(stored, dtype=np.float32))  # a copy that may be written

    @staticmethod
    def _load(path: Path, n_samples: int) -> np.ndarray[Any, Any] | None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        readable = array.dtype in (np.float16, np.float32) and array.ndim >= 2
        return array if readable and len(array) == n_samples else None

    def _save(self, path: Path, array: np.ndarray[Any, Any]) -> None:
        n_free_bytes = shutil.disk_usage(existing_parent(self._root)).free
        if array.nbytes > n_free_bytes:
            raise OutputError(
                f"The cached features need {array.nbytes:,} bytes and {self._root} has "
                f"{n_free_bytes:,} free. {CACHE_ADVICE}"
            )
        with atomic_file(path, CACHE_ADVICE) as file:
            np.save(file, array, allow_pickle=False)


def _compact(features: Tensor) -> Tensor:
    if not bool(torch.isfinite(features).all()):
        bad = torch.nonzero(~torch.isfinite(features).flatten(1).all(dim=1)).squeeze(1)
        raise DataError(
            f"Non-finite features: the backbone gives NaN or infinity for {len(bad)} of "
            f"{len(features)} samples, the first at index {int(bad[0])}. Check its weights and "
            "what it expects of its inputs."
        )
    half = features.to(torch.float16)
    return half if bool(torch.isfinite(half).all()) else features.to(torch.float32)


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
