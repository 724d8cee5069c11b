"""Stanford Cars: 196 models of cars, from the original folders and .mat files.

The address that they were published at is dead, so they can't be downloaded.

.. [Krause2013] J. Krause, M. Stark, J. Deng, L. Fei-Fei. 3D object representations for
   fine-grained categorization. 3dRR 2013.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.inside import check_inside
from energytune.data.mat_files import read_mat
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import FileImages
    from energytune.data.splits import Splits

__all__ = ["ensure", "load", "status", "wanted"]

_TEST_LABELS = "cars_test_annos_withlabels.mat"
_FETCH = (
    "The address it was published at is dead: copy the original files (cars_train/, cars_test/, "
    f"devkit/ and {_TEST_LABELS}) from someone who has them, and put them"
)


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for each file and folder."""
    folder = root / entry.where
    names = ("cars_train", "cars_test", "devkit/cars_train_annos.mat", "devkit/cars_meta.mat")
    return [*(want(folder / name) for name in names), want(_test_labels(folder))]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Says what is missing, as ``Family`` says."""
    found = wanted(entry, root)
    if lacking(found):
        raise missing_error(entry.name, root / entry.where, found, fetch=_FETCH)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official test set; a stable fifth of each class of train is valid."""
    from energytune.data.image_splits import make_splits, parts_of

    folder = request.root / entry.where
    class_names = read_mat(folder / "devkit" / "cars_meta.mat", "class_names")
    parts = parts_of(
        _read_part(folder, "cars_train", folder / "devkit" / "cars_train_annos.mat", request),
        None,
        _read_part(folder, "cars_test", _test_labels(folder), request),
    )
    return make_splits(
        entry.name, parts, class_names=[str(name) for name in class_names], request=request
    )


def _read_part(folder: Path, images: str, table: Path, request: LoadRequest) -> FileImages:
    import numpy as np

    from energytune.data.image_digests import examine_images
    from energytune.data.image_sources import FileImages

    rows = read_mat(table, "annotations")
    lacks = {"class", "fname"} - set(rows.dtype.names or ())
    if lacks:
        advice = f" The labelled file is called {_TEST_LABELS}." if images == "cars_test" else ""
        raise DataError(
            f"The annotations of {table} must have the fields 'class' and 'fname', but lack "
            f"{', '.join(sorted(lacks))}.{advice}"
        )
    try:
        names = [f"{images}/{check_inside(str(row['fname']), str(table))}" for row in rows]
        targets = np.array([int(row["class"]) for row in rows], dtype=np.int64) - 1
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{table} has a class that is no whole number: {error}. Fetch it again."
        ) from error
    examined = examine_images(
        folder, names, decode=False, label=f"reading {images}", progress=request.progress
    )
    return FileImages(folder, names, targets, examined.digests)


def _test_labels(folder: Path) -> Path:
    """Returns where the test set's labels are; copies of the data keep them in either place."""
    inside = folder / "devkit" / _TEST_LABELS
    return inside if inside.is_file() else folder / _TEST_LABELS
