"""STL-10's files: whether they are there and whole, and how they are downloaded.

.. [Coates2011] A. Coates, H. Lee, A. Y. Ng. An analysis of single-layer networks in
   unsupervised feature learning. AISTATS 2011.
"""

from __future__ import annotations

from pathlib import Path

from energytune.data.download import fetch_members
from energytune.data.file_checks import check_file
from energytune.data.missing_files import Wanted, lacking, missing_error, want
from energytune.errors import DataError
from energytune.progress import NO_PROGRESS, Progress

__all__ = [
    "FOLDER",
    "IMAGE_BYTES",
    "MD5S",
    "URL",
    "check_part",
    "ensure_files",
    "wanted_files",
]

FOLDER = "stl10_binary"
URL = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
IMAGE_BYTES = 3 * 96 * 96
MD5S = {
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}
"""md5 (hex) of all files that a search reads; the 2.6 GB of unlabelled images are not needed."""
_ALSO_FETCHED = ("class_names.txt",)


def wanted_files(root: Path) -> list[Wanted]:
    """Looks for the labelled files under the data root."""
    return [want(root / FOLDER / name) for name in MD5S]


def ensure_files(root: Path, *, download: bool, progress: Progress = NO_PROGRESS) -> None:
    """Downloads what is missing.

    Args:
        root: The data root.
        download: Whether to download.
        progress: Watches the download.

    Raises:
        MissingDataError: Files are missing and could not be downloaded.
        OutputError: The data root can't be written.
    """
    folder = root / FOLDER
    missing = [item.path.name for item in lacking(wanted_files(root))]
    if not missing:
        return
    why = ""
    if download:
        also = [name for name in _ALSO_FETCHED if not (folder / name).is_file()]
        why = fetch_members(
            URL, [*missing, *also], folder, label="downloading stl10", progress=progress
        )
    wanted = wanted_files(root)
    if lacking(wanted):
        fetch = f"Fetch {URL} on a machine with a connection and unpack it"
        raise missing_error("stl10", folder, wanted, fetch=fetch, why=why)


def check_part(folder: Path, part: str) -> tuple[str, str]:
    """Checks the image file and the label file of ``"train"`` or ``"test"``.

    torchvision hashes all five files, the unlabelled ones too, whenever a dataset is made. Here
    only the part's own two are checked, and hashed only once.

    Returns:
        The md5 of both.

    Raises:
        DataError: One is damaged.
    """
    path = folder / f"{part}_X.bin"
    size = path.stat().st_size
    if size % IMAGE_BYTES:
        raise DataError(
            f"{path} is cut short: its size must be a multiple of {IMAGE_BYTES:,} bytes (one image)"
            f", got {size:,}. Delete it and run again to download it anew."
        )
    images, labels = (check_file(folder / name, MD5S[name]) for name in _names(part))
    return images, labels


def _names(part: str) -> tuple[str, str]:
    return f"{part}_X.bin", f"{part}_y.bin"
