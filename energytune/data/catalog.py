"""The datasets there are, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from energytune.config import InputConfig
from energytune.data.splits import Splits
from energytune.errors import UnknownNameError, unknown_name
from energytune.progress import NO_PROGRESS, Progress

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "dataset_status",
    "default_data_root",
    "ensure_dataset",
    "get_dataset",
    "load_dataset",
]


@dataclass(frozen=True)
class DatasetEntry:
    """What is known of a dataset without loading it.

    Attributes:
        name: As on the command line.
        description: One sentence.
        n_classes: Classes of the downstream task.
        sizes: Images in each split, for a person.
        backbone: Name of the default backbone.
        space: Name of the default search space.
        where: Folder below the data root; empty if the data come with the package.
        embedded: Whether nothing has to be on disk.
        download: Whether it can be downloaded when missing.
    """

    name: str
    description: str
    n_classes: int
    sizes: str
    backbone: str
    space: str
    where: str = ""
    embedded: bool = False
    download: bool = False


def _digits_entry(
    name: str, description: str, *, n_classes: int = 10, n_train: int = 100, n_test: int = 597
) -> DatasetEntry:
    """Returns the entry of one more transfer between the digits."""
    return DatasetEntry(
        name=f"digits-{name}",
        description=description,
        n_classes=n_classes,
        sizes=f"{n_train} train, 400 valid, {n_test} test",
        backbone="digits-mlp",
        space="default",
        embedded=True,
    )


_ENTRIES = (
    DatasetEntry(
        name="digits",
        description="Handwritten digits, 8 x 8; backbone pretrained on even/odd.",
        n_classes=10,
        sizes="100 train, 400 valid, 597 test",
        backbone="digits-mlp",
        space="default",
        embedded=True,
    ),
    DatasetEntry(
        name="digits-rotated",
        description="Digits 0, 1, 2 rotated and cropped; backbone pretrained on 3 to 9 upright.",
        n_classes=3,
        sizes="60 train, 240 valid, 237 test",
        backbone="digits-mlp",
        space="default",
        embedded=True,
    ),
    _digits_entry("same", "Control: backbone pretrained on the same ten digits, other images."),
    _digits_entry("fewshot", "As digits, with three training images a class.", n_train=30),
    _digits_entry(
        "halves",
        "Digits 5 to 9; backbone pretrained on 0 to 4.",
        n_classes=5,
        n_train=50,
        n_test=446,
    ),
    _digits_entry("inverted", "Digits black on white; backbone pretrained on white on black."),
    _digits_entry("rot90", "Digits turned by 90 degrees; backbone pretrained on upright ones."),
    _digits_entry("permuted", "Digits with all pixels moved; backbone pretrained on digits."),
    DatasetEntry(
        name="stl10",
        description="STL-10, photographs of ten classes, 96 x 96.",
        n_classes=10,
        sizes="4,000 train, 1,000 valid, 8,000 test",
        backbone="resnet50.tv_in1k",
        space="stl10",
        where="stl10_binary",
        download=True,
    ),
)
DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every dataset that :func:`load_dataset` knows."""


def default_data_root() -> Path:
    """Returns the folder for image datasets: ``$ENERGYTUNE_DATA``, else the user's data folder."""
    named = os.environ.get("ENERGYTUNE_DATA")
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir("energytune"))


def get_dataset(name: str) -> DatasetEntry:
    """Returns the entry of ``name``.

    Raises:
        UnknownNameError: No dataset has that name; names those that are spelled alike.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise unknown_dataset(name) from None


def unknown_dataset(name: str) -> UnknownNameError:
    """Builds the error for a name that is no dataset."""
    return unknown_name("dataset", name, DATASETS, hint="List them all with: energytune datasets")


def dataset_status(entry: DatasetEntry, data_root: Path | None = None) -> tuple[bool, str]:
    """Looks whether a dataset is on this machine, without reading it.

    Args:
        entry: Which dataset.
        data_root: Folder that holds the datasets' folders; None is the default one.

    Returns:
        Whether it can be loaded without a download, and a sentence with the paths.
    """
    if entry.embedded:
        return True, "comes with scikit-learn"
    from energytune.data.stl10_files import missing_files

    folder = (data_root or default_data_root()) / entry.where
    missing = missing_files(folder)
    if not missing:
        return True, f"in {folder}"
    return False, f"not in {folder} (missing: {', '.join(missing)})"


def ensure_dataset(
    name: str,
    data_root: Path | None = None,
    *,
    download: bool = True,
    progress: Progress | None = None,
) -> None:
    """Makes sure that a dataset's files are on this machine, without reading them.

    Args:
        name: One of :data:`DATASETS`.
        data_root: Folder that holds the datasets' folders; None is the default one.
        download: Whether missing files are downloaded.
        progress: Watches a download.

    Raises:
        UnknownNameError: No dataset has that name.
        MissingDataError: Files are missing and could not be downloaded.
        OutputError: A download can't be written.
    """
    if get_dataset(name).embedded:
        return
    from energytune.data.stl10_files import ensure_files

    ensure_files(
        data_root or default_data_root(), download=download, progress=progress or NO_PROGRESS
    )


def load_dataset(
    name: str,
    *,
    data_root: Path | None = None,
    input_config: InputConfig | None = None,
    download: bool = True,
    loader_workers: int | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Loads a dataset by name.

    Args:
        name: One of :data:`DATASETS`.
        data_root: Folder that holds the datasets' folders; None is the default one. Embedded
            datasets need none.
        input_config: What the backbone expects of images; embedded datasets have their own.
        download: Whether a missing dataset is downloaded.
        loader_workers: Processes that read images; None chooses.
        progress: Watches a download.

    Raises:
        UnknownNameError: No dataset has that name.
        MissingDataError: The data are not on this machine and could not be downloaded.
        DataError: The data are damaged or break a rule.
        OutputError: A download can't be written.
    """
    entry = get_dataset(name)
    if entry.embedded:
        from energytune.data.embedded import load_embedded

        return load_embedded(name)
    # Before torchvision is imported: what is missing should be told at once.
    ensure_dataset(name, data_root, download=download, progress=progress)
    from energytune.data.vision import load_stl10

    return load_stl10(
        data_root or default_data_root(),
        input_config or InputConfig(),
        loader_workers=loader_workers,
    )
