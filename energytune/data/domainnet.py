"""DomainNet's real, sketch and quickdraw, by the official lists of training and test images.

[Ren2023]_ uses 200 of the 345 classes and does not say which, with fewer than 20,000 training
images of each domain. Under the names that end in ``-paper`` the first 200 classes are taken,
with all their images, so that accuracies are near the paper's in kind but can't be held against
them digit by digit.

The images' content is not read for the fingerprint, which is made of their paths, sizes and
classes: a domain has up to 173,000 of them.

.. [Peng2019] X. Peng, Q. Bai, X. Xia, Z. Huang, K. Saenko, B. Wang. Moment matching for
   multi-source domain adaptation. ICCV 2019.
.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.inside import check_inside
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.splits import Splits

__all__ = ["URL", "ensure", "load", "read_list", "status", "wanted"]

URL = "http://csr.bu.edu/ftp/visda/2019/multi-source/"


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for the lists and the folder of images."""
    folder, domain = root / entry.where, _domain(entry)
    names = (f"{domain}_train.txt", f"{domain}_test.txt", domain)
    return [want(folder / name) for name in names]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Says what is missing, as ``Family`` says."""
    found, domain = wanted(entry, root), _domain(entry)
    if lacking(found):
        lists = f"{URL}domainnet/txt/{domain}"
        fetch = (
            f"It is not downloaded for you. Fetch {URL}{domain}.zip, {lists}_train.txt and "
            f"{lists}_test.txt and unpack the first"
        )
        raise missing_error(entry.name, root / entry.where, found, fetch=fetch)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official test set; a stable fifth of each class of train is valid."""
    import numpy as np

    from energytune.data.image_digests import file_sizes
    from energytune.data.image_sources import FileImages
    from energytune.data.image_splits import make_splits, parts_of

    folder, domain = request.root / entry.where, _domain(entry)
    sources: list[FileImages] = []
    class_names = [str(label) for label in range(entry.n_classes)]
    for part in ("train", "test"):
        rows = read_list(folder / f"{domain}_{part}.txt")
        if entry.name.endswith("-paper"):
            rows = [row for row in rows if row[1] < entry.n_classes]
        for name, label in rows:
            if 0 <= label < entry.n_classes:
                class_names[label] = Path(name).parent.name
        names = [name for name, _ in rows]
        targets = np.array([label for _, label in rows], dtype=np.int64)
        sources.append(FileImages(folder, names, targets, file_sizes(folder, names)))
    parts = parts_of(sources[0], None, sources[1])
    return make_splits(entry.name, parts, class_names=class_names, request=request)


def read_list(path: Path) -> list[tuple[str, int]]:
    """Reads lines such as ``real/airplane/real_001_000001.jpg 0``.

    Raises:
        DataError: A line is no path with a class behind it; names the line.
    """
    rows = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not (name and label.isdecimal() and len(label) < 10):
            raise DataError(
                f"Line {number} of {path} must be a path, a blank and a class (a whole number), "
                f"got {line.strip()!r}. Fetch the list again."
            )
        where = f"Line {number} of {path}"
        rows.append((check_inside(name.strip(), where), int(label)))
    return rows


def _domain(entry: DatasetEntry) -> str:
    return entry.name.split("-")[1]
