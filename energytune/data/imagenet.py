"""ImageNet-1k (ILSVRC 2012): the official validation images are the test set.

Layouts: ``train/<wnid>/*`` with ``val/<wnid>/*``; or Kaggle's, with all validation images in one
folder and their classes in ``LOC_val_solution.csv``. ImageNet has no download without an account.

The images' content is not read for the fingerprint, which is made of their paths, sizes and
classes: they are 150 GB.

.. [Russakovsky2015] O. Russakovsky et al. ImageNet large scale visual recognition challenge.
   IJCV 2015.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.folder_layout import ClassFolders, class_indices, scan_classes
from energytune.data.image_reading import is_image_name
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.data.table_lines import table_lines
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import FileImages
    from energytune.data.splits import Splits

__all__ = ["ensure", "load", "status", "wanted"]

_KAGGLE = "ILSVRC/Data/CLS-LOC"
_SOLUTION = "LOC_val_solution.csv"
_VALID_FRACTION = 0.04  # about 52 of a class's 1,300: as many as the test set has
_FETCH = (
    "It can't be downloaded without an account: get it from https://image-net.org or from Kaggle "
    "(imagenet-object-localization-challenge), and unpack it"
)


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for the two folders, and for the list that Kaggle's layout needs."""
    folder = root / entry.where
    images = _images(folder)
    found = [want(images / "train"), want(images / "val")]
    if (images / "val").is_dir() and _is_flat(images / "val"):
        found.append(want(folder / _SOLUTION))
    return found


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Says what is missing, as ``Family`` says."""
    found = wanted(entry, root)
    if lacking(found):
        raise missing_error(entry.name, root / entry.where, found, fetch=_FETCH)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official valid as test; 4 % of each class of train are valid."""
    from energytune.data.image_splits import make_splits, parts_of

    folder = request.root / entry.where
    images = _images(folder)
    train = scan_classes(images / "train")
    class_names = list(train.classes)
    if len(class_names) != entry.n_classes:
        request.progress.note(
            f"{images / 'train'} has {len(class_names):,} class folders in place of "
            f"{entry.n_classes:,}: scores are those of another task"
        )
    test = (
        _kaggle_valid(images / "val", folder / _SOLUTION)
        if _is_flat(images / "val")
        else scan_classes(images / "val")
    )
    parts = parts_of(
        _source(images, "train", train, class_names),
        None,
        _source(images, "val", test, class_names),
        valid_fraction=_VALID_FRACTION,
    )
    return make_splits(entry.name, parts, class_names=class_names, request=request)


def _source(images: Path, part: str, found: ClassFolders, class_names: list[str]) -> FileImages:
    import numpy as np

    from energytune.data.image_digests import file_sizes
    from energytune.data.image_sources import FileImages

    targets = class_indices(found, images / part, class_names)
    names = [f"{part}/{name}" for listed in found.classes.values() for name in listed]
    return FileImages(images, names, np.array(targets, dtype=np.int64), file_sizes(images, names))


def _images(folder: Path) -> Path:
    """Returns the folder that holds ``train`` and ``val``."""
    kaggle = folder / _KAGGLE
    return kaggle if kaggle.is_dir() else folder


def _is_flat(folder: Path) -> bool:
    """Returns whether images lie in the folder itself and not in class folders."""
    with os.scandir(folder) as items:
        return any(is_image_name(item.name) and item.is_file() for item in items)


def _kaggle_valid(folder: Path, solution: Path) -> ClassFolders:
    """Sorts images by the classes of a list with lines ``ILSVRC2012_val_00048981,n03995372 ...``.

    Raises:
        DataError: A line is of another form, or an image is not in the list.
    """
    classes: dict[str, str] = {}
    try:
        with solution.open(newline="", encoding="utf-8", errors="replace") as file:
            for number, row in enumerate(csv.reader(table_lines(solution, file)), start=1):
                words = row[1].split() if len(row) == 2 else []
                if number == 1 and row[:1] == ["ImageId"]:
                    continue
                if not words:
                    raise DataError(
                        f"Line {number} of {solution} must be an image and its boxes, got {row}."
                    )
                classes[row[0]] = words[0]
    except csv.Error as error:
        raise DataError(f"{solution} can't be read as a table: {error}. Unpack it anew.") from error
    found = ClassFolders({wnid: [] for wnid in sorted(set(classes.values()))})
    for name in sorted(filter(is_image_name, os.listdir(folder))):
        wnid = classes.get(Path(name).stem)
        if wnid is None:
            raise DataError(f"{folder / name} is not in {solution}, so its class is not known.")
        found.classes[wnid].append(name)
    return found
