"""A user's own folder: ``train/``, ``valid/`` (or ``val/``, ``validation/``) and ``test/``.

In each lies one folder a class. What is missing is never taken from elsewhere: without ``test/``
there is nothing to report on, and a search refuses to start. Without a folder for validation, a
stable fifth of each class of train is cut.

Every image is read once, so that those that can't be read are known before a search, and
remembered by size and modification time. Beyond 4 GiB this would keep a first search waiting: then
a sample is addressed by its path and size, and an unreadable image is told when it is reached.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.folder_layout import class_indices, scan_classes
from energytune.data.missing_files import Wanted, lacking, status_of, want
from energytune.data.name_options import FOLDER_OPTIONS, SKIP, parse_name, slug
from energytune.errors import DataError, MissingDataError
from energytune.progress import Progress

if TYPE_CHECKING:
    from energytune.data.image_sources import FileImages
    from energytune.data.splits import Splits

__all__ = ["READ_BYTES", "ensure", "load", "status", "wanted"]

READ_BYTES = 4 << 30
"""Up to this size all images are read before a search."""
_VALID_NAMES = ("valid", "val", "validation")
_N_TOLD = 5


def wanted(entry: DatasetEntry, root: Path) -> list[Wanted]:
    """Looks for the folders of the splits; one for validation need not be there."""
    folder = Path(entry.where)
    found = [want(folder / "train"), want(folder / "test")]
    return [*found, *(want(folder / name) for name in _VALID_NAMES if (folder / name).exists())]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the folders, as ``Family`` says."""
    return status_of(Path(entry.where), wanted(entry, root))


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Says what is missing, as ``Family`` says.

    Raises:
        DataError: The folder is there, but not its splits.
    """
    folder, missing = Path(entry.where), lacking(wanted(entry, root))
    if not folder.is_dir():
        raise MissingDataError(
            f"Dataset {entry.name!r}: there is no folder {folder}. Give the path of a folder with "
            "train/ and test/, as in folder:PATH."
        )
    if missing:
        held = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
        raise DataError(
            f"Dataset {entry.name!r}: {folder} must hold train/ and test/ (and valid/, if there "
            "are images for it) with one folder of images a class, but "
            f"{' and '.join(item.path.name + '/' for item in missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing or empty; it holds {_list(held)}. "
            "Sort the images into these folders: splits are never guessed."
        )


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the splits as they lie in the folder, as ``Family`` says."""
    from energytune.data.image_splits import make_splits, parts_of

    folder = Path(entry.where)
    folders = {"train": folder / "train", "test": folder / "test"}
    valid = _valid_folder(entry, folder)
    if valid is not None:
        folders["valid"] = valid
    names, targets, classes = _list_images(entry, folder, folders, request.progress)
    sources = _sources(entry, folder, names, targets, request.progress)
    _check_classes(entry, sources["train"], classes)
    parts = parts_of(sources["train"], sources.get("valid"), sources["test"])
    return make_splits(
        slug(folder.name, "folder"),
        parts,
        class_names=classes,
        request=request,
        told=entry.name,
    )


def _valid_folder(entry: DatasetEntry, folder: Path) -> Path | None:
    found = [folder / name for name in _VALID_NAMES if (folder / name).is_dir()]
    if len(found) > 1:
        raise DataError(
            f"Dataset {entry.name!r} has several folders for validation: "
            f"{', '.join(map(str, found))}. Leave one."
        )
    return found[0] if found else None


def _list_images(
    entry: DatasetEntry, folder: Path, folders: dict[str, Path], progress: Progress
) -> tuple[dict[str, list[str]], dict[str, list[int]], list[str]]:
    """Returns the images of each split, their class indices, and the names of the classes."""
    names: dict[str, list[str]] = {}
    targets: dict[str, list[int]] = {}
    others: list[str] = []
    classes: list[str] = []
    for part, at in folders.items():
        found = scan_classes(at)
        if part == "train":
            classes = list(found.classes)
        targets[part] = class_indices(found, at, classes)
        names[part] = [f"{at.name}/{name}" for listed in found.classes.values() for name in listed]
        others += [f"{at.name}/{name}" for name in found.others]
        if not found.n_images:
            raise DataError(
                f"Empty split: {at}, of dataset {entry.name!r}, holds no image in any class folder."
            )
    if others:
        progress.note(
            f"{len(others):,} files of {folder} are no images in a class folder and are left out: "
            f"{_list(others)}"
        )
    return names, targets, classes


def _sources(
    entry: DatasetEntry,
    folder: Path,
    names: dict[str, list[str]],
    targets: dict[str, list[int]],
    progress: Progress,
) -> dict[str, FileImages]:
    import numpy as np

    from energytune.data.image_sources import FileImages

    every = [name for listed in names.values() for name in listed]
    contents, bad = _contents(entry, folder, every, progress)
    by_name = dict(zip(every, contents, strict=True))
    sources = {}
    for part, listed in names.items():
        kept = [i for i, name in enumerate(listed) if name not in bad]
        sources[part] = FileImages(
            folder,
            [listed[i] for i in kept],
            np.array([targets[part][i] for i in kept], dtype=np.int64),
            [by_name[listed[i]] for i in kept],
        )
    return sources


def _contents(
    entry: DatasetEntry, folder: Path, names: list[str], progress: Progress
) -> tuple[list[str], set[str]]:
    """Returns what stands for the content of each image, and which ones are to be left out.

    Raises:
        DataError: Some can't be read, and the name does not say to skip them.
    """
    from energytune.data.image_digests import examine_images, file_sizes

    skip = SKIP in parse_name(entry.name, FOLDER_OPTIONS).options
    readable = [name for name in names if (folder / name).is_file()]
    if not skip and sum(file_sizes(folder, readable)) > READ_BYTES:
        sizes = file_sizes(folder, names)
        progress.note(
            f"{folder} is larger than {READ_BYTES >> 30} GiB: its images are not read beforehand, "
            "and are addressed by path and size"
        )
        return [f"{size} bytes" for size in sizes], set()
    examined = examine_images(
        folder, names, decode=True, label=f"reading {folder.name}", progress=progress
    )
    bad = {names[i]: reason for i, reason in examined.problems.items()}
    if bad:
        count = f"{len(bad):,} of {len(names):,} images of {folder} can't be read"
        told = [f"{name} ({reason})" for name, reason in list(bad.items())[:_N_TOLD]]
        more = f" and {len(bad) - _N_TOLD:,} more" if len(bad) > _N_TOLD else ""
        if not skip:
            mark = "&" if "?" in entry.name else "?"
            raise DataError(
                f"Unreadable images: {count}: {'; '.join(told)}{more}. Repair or remove them, or "
                f"leave them out with --dataset '{entry.name}{mark}{SKIP}'."
            )
        progress.note(f"{count} and are left out: {'; '.join(told)}{more}")
    else:
        _tell_copies(names, examined.digests, progress)
    return examined.digests, set(bad)


def _tell_copies(names: list[str], digests: list[str], progress: Progress) -> None:
    """Tells of images that lie in more than one split: scores on them are too good."""
    parts: dict[str, set[str]] = {}
    for name, digest in zip(names, digests, strict=True):
        parts.setdefault(digest, set()).add(name.partition("/")[0])
    shared = Counter(" and ".join(sorted(found)) for found in parts.values() if len(found) > 1)
    for places, count in sorted(shared.items()):
        told, them = ("image lies", "it") if count == 1 else ("images lie", "them")
        progress.note(f"{count:,} {told} in {places} alike: scores on {them} are too good")


def _check_classes(entry: DatasetEntry, train: FileImages, classes: list[str]) -> None:
    """Checks that each class has a training image.

    Raises:
        DataError: One has none.
    """
    present = set(train.targets.tolist())
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"Dataset {entry.name!r}: train/ has no readable image of {_list(empty)}. Add some, or "
            "remove these class folders."
        )


def _list(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - _N_TOLD} more" if len(names) > _N_TOLD else ""
    return ", ".join(map(repr, names[:_N_TOLD])) + more
