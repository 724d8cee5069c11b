"""PASCAL VOC 2012's files: where they lie, whether they are there, and what its lists name."""

from __future__ import annotations

from pathlib import Path

from energytune.data.mask_files import MaskPair
from energytune.errors import DataError, MissingDataError

__all__ = ["URL", "find_voc", "read_list", "require_voc"]

URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"

_MAX_KEY = 60
_LISTS = "ImageSets/Segmentation"
_NEEDED = (f"{_LISTS}/train.txt", f"{_LISTS}/val.txt", "JPEGImages", "SegmentationClass")
_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
"""Below the folder that a user names: it may be above the devkit, the devkit, or VOC2012."""


def find_voc(root: Path) -> tuple[Path, list[str]]:
    """Returns the folder of VOC 2012 and which of its files and folders are missing there.

    Args:
        root: The folder above ``VOCdevkit``, the devkit itself or any folder that has
            ``VOC2012``, or ``VOC2012`` itself.
    """
    candidates = [(root / place).resolve() for place in _PLACES]
    missing = [[name for name in _NEEDED if not (f / name).exists()] for f in candidates]
    best = min(range(len(candidates)), key=lambda index: len(missing[index]))
    return candidates[best], missing[best]


def require_voc(root: Path, name: str) -> Path:
    """Returns the folder of VOC 2012.

    Args:
        root: As for :func:`find_voc`.
        name: The dataset's, for the message.

    Raises:
        MissingDataError: It is not there, or not all of it; says from where and to which path.
    """
    folder, missing = find_voc(root)
    if not missing:
        return folder
    wanted = root / "VOCdevkit" / "VOC2012" if len(missing) == len(_NEEDED) else folder
    raise MissingDataError(
        f"Dataset {name!r} is not on this machine: {wanted} lacks {', '.join(missing)}. Fetch "
        f"{URL} (2 GB) and unpack it with tar so that {wanted / missing[0]} exists, or name the "
        "folder that holds VOCdevkit/ (or VOC2012/) with --data-root DIR."
    )


def read_list(folder: Path, part: str) -> list[MaskPair]:
    """Returns the pairs that an official list names, in its order.

    Args:
        folder: Of VOC 2012.
        part: ``"train"`` or ``"val"``.

    Raises:
        DataError: A line is no id or names an id again, or its image or mask is missing; names
            list and line.
    """
    path = folder / _LISTS / f"{part}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise DataError(f"{path} can't be read as text: {failure}. Unpack it anew.") from failure
    pairs: dict[str, MaskPair] = {}
    for number, line in enumerate(lines, start=1):
        if not (key := line.strip()):
            continue
        where = f"Line {number} of {path}"
        if len(key.split()) > 1 or "/" in key or "\\" in key or len(key) > _MAX_KEY:
            raise DataError(
                f"{where} must be the id of one image, such as 2007_000032, got {key!r}. Use the "
                f"list in {_LISTS}/, not one with labels behind the ids."
            )
        if key in pairs:
            raise DataError(f"{where} names {key!r} again. Each image counts once: remove it.")
        pair = MaskPair(
            key, folder / "JPEGImages" / f"{key}.jpg", folder / "SegmentationClass" / f"{key}.png"
        )
        for file in (pair.image, pair.mask):
            if not file.is_file():
                raise DataError(
                    f"{where} names {key!r}, but {file} is missing. Unpack the archive again, or "
                    "remove the line."
                )
        pairs[key] = pair
    if not pairs:
        raise DataError(f"Empty split: {path} names 0 images, but needs at least 1.")
    return list(pairs.values())
