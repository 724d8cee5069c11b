"""Features on their way to disk: batch by batch, never a whole split in memory."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch

from energytune.errors import DataError
from energytune.progress import Progress
from energytune.training.feature_entry import DATA_NAME, Written
from energytune.training.features_extract import FeatureSource

__all__ = ["TooLarge", "needed_bytes", "stage_name", "write_features"]


class TooLarge(Exception):  # noqa: N818 - no user sees it: the features are recomputed instead
    """The features need more bytes than they may."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self.n_bytes = n_bytes


class _BeyondHalf(Exception):  # noqa: N818 - the file is begun again in float32
    """A feature is larger than float16's largest number, 65,504."""


def needed_bytes(source: FeatureSource, dtype: torch.dtype = torch.float16) -> int:
    """Returns the bytes of all views, known from a forward of one sample."""
    n_items = len(source.stored_views) * len(source.split)
    return n_items * source.item_shape.numel() * dtype.itemsize


def stage_name(source: FeatureSource) -> str:
    """Returns what is computed, for a person."""
    return f"features of {source.name}, depth {source.depth}"


def write_features(
    folder: Path, source: FeatureSource, *, limit_bytes: int, progress: Progress
) -> Written:
    """Computes the features and writes them to ``folder``, as float16 where that reaches.

    Args:
        folder: Exists; the file in it is new.
        source: The features.
        limit_bytes: How many bytes they may need.
        progress: Watches.

    Raises:
        TooLarge: If they need more, also if only float32 holds them; nothing is said to a user.
        DataError: If a feature is not finite, or all of them are 0.
    """
    try:
        return _write(folder, source, torch.float16, stage_name(source), limit_bytes, progress)
    except _BeyondHalf:
        name = f"{stage_name(source)} (beyond float16, in float32)"
        return _write(folder, source, torch.float32, name, limit_bytes, progress)


def _write(
    folder: Path,
    source: FeatureSource,
    dtype: torch.dtype,
    name: str,
    limit_bytes: int,
    progress: Progress,
) -> Written:
    n_bytes = needed_bytes(source, dtype)
    if n_bytes > limit_bytes:
        raise TooLarge(n_bytes)
    n_samples, views = len(source.split), source.stored_views
    shape = (len(views), n_samples, *source.item_shape)
    code = "<f2" if dtype == torch.float16 else "<f4"
    any_value = False
    with (
        (folder / DATA_NAME).open("wb") as file,
        progress.stage(name, total=len(views) * n_samples) as advance,
    ):
        summed = _Summed(file)
        header = {"descr": code, "fortran_order": False, "shape": shape}
        # It only ever calls write.
        np.lib.format.write_array_header_1_0(cast(BinaryIO, summed), header)
        for view in views:
            for features in source.batches(view=view):
                stored = features.to(dtype)
                if dtype == torch.float16 and not bool(torch.isfinite(stored).all()):
                    raise _BeyondHalf
                any_value = any_value or bool(stored.any())
                summed.write(stored.cpu().contiguous().numpy().data.cast("B"))
                advance(len(features))
        if not any_value:
            raise all_zero_error(source.name)
        file.flush()
        os.fsync(file.fileno())
    return Written(shape, code, summed.crc32)


def all_zero_error(name: str) -> DataError:
    """Returns the error for a backbone that gives zeros only."""
    return DataError(
        f"The backbone gives only zeros: every feature of every sample of {name} is 0, so there "
        "is nothing to probe. Check that its weights are loaded (a dead ReLU at its end, or a "
        "checkpoint of zeros, does this) and that its inputs are scaled as it expects."
    )


class _Summed:
    """A file that keeps the checksum of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc32 = 0

    def write(self, data: bytes | memoryview) -> int:
        self.crc32 = zlib.crc32(data, self.crc32)
        return self._file.write(data)
