"""Where the features of a split come from: memory, a mapped file, or the network itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from energytune.config.sizes import format_bytes
from energytune.progress import Progress
from energytune.training.feature_entry import StoredFeatures
from energytune.training.feature_store import FeatureStore
from energytune.training.features import Features, TensorFeatures
from energytune.training.features_budget import CacheBudget
from energytune.training.features_extract import FeatureSource
from energytune.training.features_mapped import MappedFeatures
from energytune.training.features_recomputed import RecomputedFeatures
from energytune.training.features_writer import TooLarge, needed_bytes, stage_name, write_features

__all__ = ["load_features", "open_features"]

_IN_MEMORY_BYTES = 256 * 10**6
_SHARE_OF_GPU = 4
_SHARE_OF_RAM = 4
"""A process reads train and valid features, and now and then those of two cuts."""


def load_features(
    store: FeatureStore,
    key: str,
    source: FeatureSource,
    *,
    budget: CacheBudget,
    parts: dict[str, Any],
    progress: Progress,
) -> Features:
    """Returns the features of a split at a cut; computes and stores them on first use.

    Their size is known before anything is written. If they don't fit into the disk's budget,
    they are recomputed whenever they are read, and ``progress`` is told why.

    Args:
        store: Where features are kept.
        key: Content address of all that they depend on.
        source: Gives them if they are not there.
        budget: Room on disk and in memory.
        parts: Readable parts of the key (JSON values), for ``energytune cache list``.
        progress: Watches.

    Raises:
        DataError: If a feature is not finite, or all of them are 0.
        OutputError: If the disk is full or the folder can't be written.
    """
    n_views, n_samples = len(source.stored_views), len(source.split)
    stored = store.find(key, n_views, n_samples)
    if stored is None:
        left = budget.disk_bytes - store.used_bytes()
        n_bytes = needed_bytes(source)
        try:
            if n_bytes > left:
                raise TooLarge(n_bytes)
            stored = store.get(
                key,
                n_views,
                n_samples,
                n_bytes=n_bytes,
                parts=parts,
                write=partial(write_features, source=source, limit_bytes=left, progress=progress),
                on_wait=lambda: progress.note(
                    f"{stage_name(source)}: another process computes them; waiting for it"
                ),
            )
        except TooLarge as large:
            progress.note(_fallback(source, large.n_bytes, budget, left))
            return RecomputedFeatures(source)
    return open_features(stored, budget=budget, device=source.device)


def open_features(
    stored: StoredFeatures, *, budget: CacheBudget, device: torch.device
) -> TensorFeatures | MappedFeatures:
    """Returns stored features: in memory if they are small or fit the GPU, else mapped.

    Args:
        stored: A whole entry of the store.
        budget: Its ``ram_bytes`` bound what is resident.
        device: Where batches are given out. On a GPU they lie there, in float16, if they fit a
            quarter of its free memory.
    """
    if device.type == "cuda":
        n_free, _ = torch.cuda.mem_get_info(device)
        if stored.n_bytes <= n_free // _SHARE_OF_GPU:
            narrow = torch.float16 if stored.dtype == np.float16 else torch.float32
            return _in_memory(stored, device, narrow)
    elif stored.n_elements * 4 <= min(_IN_MEMORY_BYTES, budget.ram_bytes):
        return _in_memory(stored, device, torch.float32)
    resident_bytes = max(1, budget.ram_bytes // _SHARE_OF_RAM)
    return MappedFeatures(stored, resident_bytes=resident_bytes, device=device)


def _in_memory(stored: StoredFeatures, device: torch.device, dtype: torch.dtype) -> TensorFeatures:
    mapped = np.memmap(stored.path, stored.dtype, "r", offset=stored.offset, shape=stored.shape)
    whole = torch.empty(stored.shape, dtype=dtype, device=device)
    for view, rows in zip(whole, mapped, strict=True):
        step = max(1, (1 << 24) // max(1, rows[:1].nbytes))  # 16 MB at a time
        for start in range(0, len(rows), step):
            view[start : start + step] = torch.from_numpy(np.array(rows[start : start + step]))
    return TensorFeatures(whole[0], whole[1:] if len(whole) > 1 else None)


def _fallback(source: FeatureSource, n_bytes: int, budget: CacheBudget, left: int) -> str:
    used = budget.disk_bytes - left
    taken = f", of which cached features hold {format_bytes(used)}" if used else ""
    return (
        f"features of {source.name} at depth {source.depth} need {format_bytes(n_bytes)}, over "
        f"the budget of {format_bytes(budget.disk_bytes)} ({budget.rule}){taken}: the frozen part "
        f"of the network runs in every epoch instead. {_option(budget)} raises it"
    )


def _option(budget: CacheBudget) -> str:
    return "--max-disk" if "--max-disk" in budget.rule else "--cache-budget"
