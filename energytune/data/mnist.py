"""MNIST: handwritten digits, 28 x 28 grey, read from its idx files.

torchvision checks nothing of them. Here their headers and sizes must agree, so that a file that
was cut short or is another one is told.

.. [LeCun1998] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to
   document recognition. Proceedings of the IEEE 1998.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.data.download import fetch_file
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.file_checks import file_md5
from energytune.data.missing_files import Wanted, lacking, missing_error, status_of, want
from energytune.errors import DataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import ArrayImages
    from energytune.data.splits import Splits

__all__ = ["URL", "ensure", "load", "read_idx", "status", "wanted"]

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
ARCHIVE_MD5S = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
"""File -> md5 (hex) of the .gz that it is downloaded as."""
_PREFIX = {"train": "train", "test": "t10k"}
_UINT8 = 0x08  # the idx format's code for this element type


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for each file."""
    return [want(root / entry.where / name) for name in ARCHIVE_MD5S]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    return status_of(root / entry.where, wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Downloads missing files, as ``Family`` says."""
    folder, why = root / entry.where, ""
    for item in lacking(wanted(entry, root)) if download else ():
        name = item.path.name
        why = fetch_file(
            f"{URL}{name}.gz",
            item.path,
            md5=ARCHIVE_MD5S[name],
            unzip=True,
            label=f"downloading {name}",
            progress=progress,
        )
        if why:
            break  # the next one would be waited for in vain as well
    found = wanted(entry, root)
    if lacking(found):
        fetch = f"Fetch the four .gz files from {URL} on a machine with a connection and unpack"
        raise missing_error(entry.name, folder, found, fetch=f"{fetch} them", why=why)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the official test set; a stable fifth of each class of train is valid."""
    from energytune.data.image_splits import make_splits, parts_of

    folder = request.root / entry.where
    parts = parts_of(_read_part(folder, "train"), None, _read_part(folder, "test"))
    return make_splits(entry.name, parts, class_names=list("0123456789"), request=request)


def _read_part(folder: Path, part: str) -> ArrayImages:
    import numpy as np

    from energytune.data.image_sources import ArrayImages

    images = folder / f"{_PREFIX[part]}-images-idx3-ubyte"
    labels = folder / f"{_PREFIX[part]}-labels-idx1-ubyte"
    return ArrayImages(
        read_idx(images, n_dims=3),
        read_idx(labels, n_dims=1).astype(np.int64),
        [file_md5(images), file_md5(labels)],
        prefix=part,
        where=str(images),
    )


def read_idx(path: Path, *, n_dims: int) -> Any:
    """Reads a file of the idx format: a header of big-endian numbers, then bytes.

    Args:
        path: The file.
        n_dims: Dimensions that its array must have.

    Returns:
        uint8, mapped into memory.

    Raises:
        DataError: It is of another format, holds another kind of array, or its size is not what
            its header says.
    """
    import numpy as np

    advice = "Delete it and run again to download it anew."
    size, n_header = path.stat().st_size, 4 + 4 * n_dims
    with path.open("rb") as file:
        header = file.read(n_header)
    if len(header) < n_header or header[:4] != bytes((0, 0, _UINT8, n_dims)):
        raise DataError(
            f"{path} is no idx file of {n_dims} dimensions: it must begin with the bytes "
            f"{bytes((0, 0, _UINT8, n_dims)).hex(' ')}, got {header[:4].hex(' ')}. {advice}"
        )
    shape = struct.unpack(f">{n_dims}I", header[4:])
    expected = n_header + int(np.prod(shape, dtype=np.int64))
    if size != expected:
        raise DataError(
            f"{path} is damaged: by its header it holds an array of shape {shape}, so its size "
            f"must be {expected:,} bytes, got {size:,}. {advice}"
        )
    return np.memmap(path, dtype=np.uint8, mode="r", offset=n_header, shape=shape)
