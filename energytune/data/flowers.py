"""Oxford Flowers 102, by its official splits or by the paper's protocol.

Officially 1,020 images train, 1,020 validate and 6,149 test. [Ren2023]_ lists 6,149 training
and 2,040 test images: it trains on the official test set and tests on the two others. Both are
offered, under different names, since their accuracies can't be compared.

.. [Nilsback2008] M.-E. Nilsback, A. Zisserman. Automated flower classification over a large
   number of classes. ICVGIP 2008.
.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.data.download import fetch_file, fetch_members
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.file_checks import check_file
from energytune.data.mat_files import read_mat
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.splits import Splits

__all__ = ["MD5S", "N_IMAGES", "PAPER", "URL", "ensure", "load", "status", "wanted"]

PAPER = "flowers102-paper"
"""Name of the dataset in the paper's protocol."""
URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
MD5S = {
    "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
    "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
}
N_IMAGES = 8_189
_ARCHIVE = "102flowers.tgz"


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for the lists and counts the images."""
    folder = root / entry.where
    n_missing = len(_missing_images(folder))
    note = f"{n_missing:,} of {N_IMAGES:,} images are missing" if n_missing else ""
    images = Wanted(folder / "jpg", not n_missing, note)
    return [images, *(want(folder / name) for name in MD5S)]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Downloads missing files, as ``Family`` says."""
    folder, why = root / entry.where, ""
    if download:
        for name, md5 in MD5S.items():
            if not why and not (folder / name).is_file():
                label = f"downloading {name}"
                why = fetch_file(URL + name, folder / name, md5=md5, label=label, progress=progress)
        images = _missing_images(folder)
        if not why and images:
            why = fetch_members(
                URL + _ARCHIVE,
                images,
                folder / "jpg",
                label=f"downloading {entry.name}",
                progress=progress,
            )
    found = wanted(entry, root)
    if lacking(found):
        fetch = (
            f"Fetch {_ARCHIVE}, {' and '.join(MD5S)} from {URL} on a machine with a connection "
            "and unpack the first"
        )
        raise missing_error(entry.name, folder, found, fetch=fetch, why=why)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official splits, or those of the paper with valid cut from its training set."""
    import numpy as np
    from torchvision.datasets import Flowers102

    from energytune.data.image_digests import examine_images
    from energytune.data.image_sources import FileImages
    from energytune.data.image_splits import make_splits, parts_of

    folder = request.root / entry.where
    for name, md5 in MD5S.items():
        check_file(folder / name, md5)
    labels = read_mat(folder / "imagelabels.mat", "labels").astype(np.int64) - 1
    names = [_name(number) for number in range(1, len(labels) + 1)]
    examined = examine_images(
        folder, names, decode=False, label="reading flowers102", progress=request.progress
    )

    def images(*parts: str) -> FileImages:
        numbers = np.concatenate([_ids(folder, part, len(labels)) for part in parts]) - 1
        return FileImages(
            folder,
            [names[i] for i in numbers],
            labels[numbers],
            [examined.digests[i] for i in numbers],
        )

    if entry.name == PAPER:
        parts = parts_of(images("tstid"), None, images("trnid", "valid"))
    else:
        parts = parts_of(images("trnid"), images("valid"), images("tstid"))
    return make_splits(entry.name, parts, class_names=Flowers102.classes, request=request)


def _ids(folder: Path, part: str, n_labels: int) -> Any:
    """Returns the numbers of a part's images, from 1."""
    import numpy as np

    ids = read_mat(folder / "setid.mat", part).astype(np.int64)
    if len(ids) and (ids.min() < 1 or ids.max() > n_labels):
        raise DataError(
            f"{folder / 'setid.mat'} names image {ids.max()} in {part!r}, but imagelabels.mat has "
            f"labels for the images 1 to {n_labels:,} only. Fetch both again."
        )
    return ids


def _name(number: int) -> str:
    return f"jpg/image_{number:05d}.jpg"


def _missing_images(folder: Path) -> list[str]:
    try:
        there = set(os.listdir(folder / "jpg"))
    except OSError:
        there = set()
    names = (Path(_name(number)).name for number in range(1, N_IMAGES + 1))
    return [name for name in names if name not in there]
