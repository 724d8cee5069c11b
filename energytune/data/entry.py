"""What is known of a dataset before it is loaded, and what its family of loaders can do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from energytune.config import InputConfig
from energytune.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from energytune.data.splits import Splits

__all__ = ["DatasetEntry", "DatasetKind", "Family", "LoadRequest"]

DatasetKind = Literal["classes", "labels", "pixels"]
"""One class a sample; several yes-or-no labels, some missing; one class a pixel."""


@dataclass(frozen=True)
class DatasetEntry:
    """What is known of a dataset without loading it.

    Attributes:
        name: As on the command line.
        description: One sentence; says which protocol where there are several.
        n_classes: Classes of the downstream task, or labels of a multi-label one; 0 if only the
            data tell.
        sizes: Samples in each split, for a person.
        backbone: Name of the default backbone.
        space: Name of the default search space.
        family: Module of this room that loads it, as :class:`Family` says.
        kind: What a target is.
        where: Path below the data root, or a path of its own; empty if the data come with the
            package.
        embedded: Whether nothing has to be on disk.
        download: Whether it can be downloaded when missing.
        image_size: Side of the input images in pixels; None is the backbone's.
        units: What a sample is called.
        pretrains: Whether it brings data to pretrain its backbone on, as ``pretraining_set`` of
            its family.
    """

    name: str
    description: str
    n_classes: int
    sizes: str
    backbone: str
    space: str
    family: str
    kind: DatasetKind = "classes"
    where: str = ""
    embedded: bool = False
    download: bool = False
    image_size: int | None = None
    units: str = "images"
    pretrains: bool = False


@dataclass(frozen=True)
class LoadRequest:
    """How a dataset is to be loaded.

    Attributes:
        root: Folder that holds the datasets' folders.
        input_config: What the backbone expects of images; datasets without images ignore it.
        loader_workers: Processes that read images; None chooses.
        progress: Watches.
    """

    root: Path
    input_config: InputConfig
    loader_workers: int | None = None
    progress: Progress = NO_PROGRESS


class Family(Protocol):
    """A module that loads datasets of one kind."""

    def status(self, entry: DatasetEntry, root: Path) -> tuple[bool, str]:
        """Looks whether the files are there, without reading them.

        Returns:
            Whether it can be loaded without a download, and a few words with the paths that
            follow "is" or "on this machine:": ``"in /data/cifar"``, ``"not in /data/cifar
            (missing: ...)"``.
        """
        ...

    def ensure(
        self, entry: DatasetEntry, root: Path, *, download: bool, progress: Progress
    ) -> None:
        """Makes sure that the files are there, downloading them where that is possible.

        Raises:
            MissingDataError: They are not; says where from and to which path they go.
            OutputError: A download can't be written.
        """
        ...

    def load(self, entry: DatasetEntry, request: LoadRequest) -> Splits:
        """Loads the splits; the files are there.

        Raises:
            DataError: They are damaged or break a rule.
        """
        ...
