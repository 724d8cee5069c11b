"""STL-10's files: whether they are there and whole, and how they are downloaded.

.. [Coates2011] A. Coates, H. Lee, A. Y. Ng. An analysis of single-layer networks in
   unsupervised feature learning. AISTATS 2011.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from energytune.data.download import fetch_members
from energytune.errors import DataError, EnergyTuneError, MissingDataError
from energytune.paths import atomic_file, cache_dir
from energytune.progress import NO_PROGRESS, Progress

__all__ = [
    "FOLDER",
    "IMAGE_BYTES",
    "LABELLED_FILES",
    "URL",
    "check_file",
    "ensure_files",
    "missing_files",
]

FOLDER = "stl10_binary"
URL = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
IMAGE_BYTES = 3 * 96 * 96
LABELLED_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
"""All that a search reads; the 2.6 GB of unlabelled images are not needed."""
_ALSO_WANTED = ("class_names.txt",)


def missing_files(folder: Path) -> list[str]:
    """Returns which of :data:`LABELLED_FILES` are not in ``folder``."""
    return [name for name in LABELLED_FILES if not (folder / name).is_file()]


def ensure_files(root: Path, *, download: bool, progress: Progress = NO_PROGRESS) -> Path:
    """Returns the folder of the data, downloading what is missing.

    Args:
        root: The data root.
        download: Whether to download.
        progress: Watches the download.

    Raises:
        MissingDataError: Files are missing and could not be downloaded.
        OutputError: The data root can't be written.
    """
    folder = root / FOLDER
    missing = missing_files(folder)
    if not missing:
        return folder
    why = ""
    if download:
        wanted = [*missing, *(name for name in _ALSO_WANTED if not (folder / name).is_file())]
        why = fetch_members(URL, wanted, folder, label="downloading stl10", progress=progress)
        missing = missing_files(folder)
        if not missing:
            return folder
    raise MissingDataError(
        f"Dataset 'stl10' is not on this machine: {folder} lacks {', '.join(missing)}."
        f"{' ' + why if why else ''} Fetch {URL} on a machine with a connection and unpack it so "
        f"that {folder / missing[0]} exists, or name the folder that holds {FOLDER}/ "
        "with --data-root DIR."
    )


def check_file(path: Path, md5: str) -> str:
    """Checks a file's content once, and by size and modification time ever after.

    Args:
        path: The file.
        md5: What its md5 must be (hex).

    Returns:
        The md5 of the file.

    Raises:
        DataError: The file is damaged.
    """
    stat = path.stat()
    note = cache_dir() / "data" / "checked" / f"{_name_hash(path)}.json"
    seen = {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    try:
        known = json.loads(note.read_text())
    except (OSError, ValueError):
        known = None
    if isinstance(known, dict) and {**known, **seen} == known and "md5" in known:
        return str(known["md5"])
    if path.name.endswith("_X.bin") and (stat.st_size == 0 or stat.st_size % IMAGE_BYTES):
        raise DataError(
            f"{path} is cut short: its size must be a multiple of {IMAGE_BYTES:,} bytes (one image)"
            f", got {stat.st_size:,}. Delete it and run again to download it anew."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is damaged: its md5 must be {md5}, got {found} ({stat.st_size:,} bytes). "
            "Delete it and run again to download it anew."
        )
    _remember(note, {**seen, "md5": found})
    return found


def _remember(note: Path, content: dict[str, object]) -> None:
    try:
        with atomic_file(note, "") as file:
            file.write(json.dumps(content).encode())
    except EnergyTuneError:
        return  # only costs reading the file again next time


def _name_hash(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
