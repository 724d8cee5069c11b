"""STL-10: photographs of ten classes, read from its own binary files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.missing_files import Wanted, status_of
from energytune.data.stl10_files import check_part, ensure_files, wanted_files
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import ArrayImages
    from energytune.data.splits import Splits

__all__ = ["ensure", "load", "read_part", "status", "wanted"]

_CLASS_NAMES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for each file."""
    return wanted_files(root)


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Downloads missing files, as ``Family`` says."""
    ensure_files(root, download=download, progress=progress)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official test set; a stable fifth of each class of train is valid."""
    from energytune.data.image_splits import make_splits, parts_of

    folder = request.root / entry.where
    parts = parts_of(read_part(folder, "train"), None, read_part(folder, "test"))
    return make_splits(entry.name, parts, class_names=_CLASS_NAMES, request=request)


def read_part(folder: Path, part: str) -> ArrayImages:
    """Reads ``"train"`` or ``"test"``.

    Images are mapped into memory, so that all processes of a machine share them.

    Raises:
        DataError: A file is damaged.
    """
    import numpy as np

    from energytune.data.image_sources import ArrayImages

    md5s = check_part(folder, part)
    path = folder / f"{part}_X.bin"
    pixels = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, 3, 96, 96)
    labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8).astype(np.int64) - 1
    return ArrayImages(
        pixels.transpose(0, 3, 2, 1),  # stored column by column: (N, C, W, H)
        labels,
        md5s,
        prefix=part,
        where=str(path),
    )
