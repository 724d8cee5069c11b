"""CIFAR-10 and CIFAR-100: photographs, 32 x 32, read from the Python version's files.

These are pickles, and unpickling runs whatever the file says. So each file's md5 is checked before
it is opened, against that of the genuine one.

.. [Krizhevsky2009] A. Krizhevsky. Learning multiple layers of features from tiny images. 2009.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.data.download import fetch_members
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import ArrayImages
    from energytune.data.splits import Splits

__all__ = ["VERSIONS", "Version", "ensure", "load", "status", "wanted"]


@dataclass(frozen=True)
class Version:
    """The files of one of the two datasets.

    Attributes:
        url: Address of the archive.
        train: Training files and their md5 (hex).
        test: Test files and their md5 (hex).
        meta: The file with the classes' names, and its md5 (hex).
        labels_key: Where labels stand in a data file.
        names_key: Where the classes' names stand in ``meta``.
    """

    url: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels_key: str
    names_key: str


VERSIONS = {
    "cifar10": Version(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        labels_key="labels",
        names_key="label_names",
    ),
    "cifar100": Version(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
        labels_key="fine_labels",
        names_key="fine_label_names",
    ),
}
"""Dataset -> its files."""


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for each file."""
    version = VERSIONS[entry.name]
    names = (*version.train, *version.test, *version.meta)
    return [want(root / entry.where / name) for name in names]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Downloads missing files, as ``Family`` says."""
    folder, url, why = root / entry.where, VERSIONS[entry.name].url, ""
    missing = [item.path.name for item in lacking(wanted(entry, root))]
    if missing and download:
        label = f"downloading {entry.name}"
        why = fetch_members(url, missing, folder, label=label, progress=progress)
    found = wanted(entry, root)
    if lacking(found):
        fetch = f"Fetch {url} on a machine with a connection and unpack it"
        raise missing_error(entry.name, folder, found, fetch=fetch, why=why)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official test set; a stable fifth of each class of train is valid."""
    from energytune.data.image_splits import make_splits, parts_of

    folder, version = request.root / entry.where, VERSIONS[entry.name]
    parts = parts_of(
        _read_part(folder, version, "train"), None, _read_part(folder, version, "test")
    )
    [(meta, md5)] = version.meta.items()
    names = _unpickle(folder / meta, md5)[version.names_key]
    return make_splits(entry.name, parts, class_names=list(names), request=request)


def _read_part(folder: Path, version: Version, part: str) -> ArrayImages:
    import numpy as np

    from energytune.data.image_sources import ArrayImages

    files = version.train if part == "train" else version.test
    pixels, labels = [], []
    for name, md5 in files.items():
        batch = _unpickle(folder / name, md5)
        rows, marks = batch["data"], batch[version.labels_key]
        if len(rows) != len(marks):
            raise DataError(
                f"{folder / name} holds {len(rows):,} images but {len(marks):,} labels. Delete it "
                "and run again to download it anew."
            )
        pixels.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.extend(marks)
    return ArrayImages(
        np.concatenate(pixels),
        np.array(labels, dtype=np.int64),
        list(files.values()),
        prefix=part,
        where=str(folder / next(iter(files))),
    )


def _unpickle(path: Path, md5: str) -> dict[str, Any]:
    """Opens a pickle whose content is known to be the genuine one.

    Raises:
        DataError: It is another one.
    """
    raw = path.read_bytes()
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    # Of the very bytes that are unpickled, and each time: a third of a second for the whole set.
    if found != md5:
        raise DataError(
            f"{path} is not the genuine file: its md5 must be {md5}, got {found} ({len(raw):,} "
            "bytes). It is a pickle, so it is not opened. Delete it and run again to download it "
            "anew."
        )
    content: dict[str, Any] = pickle.loads(raw, encoding="latin1")
    return content
