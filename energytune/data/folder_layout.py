"""Folders of images, one folder a class: what is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from energytune.data.image_reading import is_image_name
from energytune.errors import DataError, near_names

__all__ = ["ClassFolders", "class_indices", "scan_classes"]

_N_TOLD = 5


@dataclass
class ClassFolders:
    """Images by class.

    Attributes:
        classes: Class folder -> its images, as paths below the folder of classes; both sorted.
        others: Files that are no images, or in no class folder, as paths below it.
    """

    classes: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def n_images(self) -> int:
        """Number of images."""
        return sum(map(len, self.classes.values()))


def scan_classes(folder: Path) -> ClassFolders:
    """Lists the images of a folder of class folders, without reading them.

    Folders inside a class belong to it. Hidden files and folders are passed over.
    """
    found = ClassFolders()
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            found.classes[item.name] = _images_below(folder, item.name, found.others)
        else:
            found.others.append(item.name)
    return found


def _images_below(folder: Path, name: str, others: list[str]) -> list[str]:
    images: list[str] = []
    for at, below, files in os.walk(folder / name):
        below[:] = sorted(item for item in below if not item.startswith("."))
        place = os.path.relpath(at, folder)
        for file in files:
            if not file.startswith("."):
                (images if is_image_name(file) else others).append(f"{place}/{file}")
    return sorted(images)


def class_indices(found: ClassFolders, folder: Path, known: list[str]) -> list[int]:
    """Returns the class index of each image, in the order of the listing.

    Args:
        found: What was listed.
        folder: Where, for messages.
        known: The classes of the training images, in the order of their indices.

    Raises:
        DataError: A class is not among them; names those that are spelled alike.
    """
    lookup = {name: index for index, name in enumerate(known)}
    strange = [name for name, images in found.classes.items() if images and name not in lookup]
    if strange:
        near = near_names(strange[0], known)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise DataError(
            f"Classes absent from train: {folder} has the class {_list(strange)}, but the "
            f"training images have no folder of that name ({len(known)} classes: {_list(known)})."
            f"{hint} Rename it, or add training images."
        )
    return [lookup[name] for name, images in found.classes.items() for _ in images]


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _N_TOLD} more" if len(names) > _N_TOLD else ""
    return ", ".join(map(repr, names[:_N_TOLD])) + more
