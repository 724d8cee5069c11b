"""Labelled images as they lie on disk, before any split: in one array, or in files.

A source is a map-style dataset with items (image, class index), which also knows how its samples
are named for ever (so that a split stays what it is) and how they are addressed by content.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energytune.data.fingerprint import hash_lines
from energytune.data.image_reading import read_image
from energytune.errors import DataError

__all__ = ["ArrayImages", "FileImages", "ImageSource", "Labels"]

Labels = NDArray[np.int64]


class ImageSource(Protocol):
    """Labelled images."""

    @property
    def targets(self) -> Labels:
        """Class indices, (N,) int64."""
        ...

    def __len__(self) -> int:
        """Number of samples, N."""
        ...

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Returns an image, in a form that the transforms take, and its class index."""
        ...

    def keys(self) -> Sequence[str]:
        """Returns what names each sample for ever."""
        ...

    def identity(self, indices: Sequence[int]) -> str:
        """Returns the sha256 (hex) of some samples, equal wherever the same data lie."""
        ...


class ArrayImages:
    """Images of one size in one array.

    Args:
        pixels: uint8, (N, H, W) or (N, H, W, C); may be a memory map.
        targets: Class indices, (N,) int64.
        contents: Digests of the files that the images and labels come from.
        prefix: What keys begin with, for example ``"train"``.
        where: The file, for messages.

    Raises:
        DataError: There are not as many labels as images.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        targets: Labels,
        contents: Sequence[str],
        *,
        prefix: str,
        where: str,
    ) -> None:
        if len(pixels) != len(targets):
            raise DataError(
                f"{where} holds {len(pixels):,} images but {len(targets):,} labels. Delete its "
                "files and run again to fetch them anew."
            )
        self._pixels, self._targets = pixels, targets
        self._contents, self._prefix = tuple(contents), prefix

    @property
    def targets(self) -> Labels:
        """Class indices, (N,) int64."""
        return self._targets

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Returns uint8 (H, W) or (H, W, C), and the class index."""
        # A copy: a memory map is not writable, and the image may lie column by column.
        return np.array(self._pixels[index], order="C"), int(self._targets[index])

    def keys(self) -> list[str]:
        """Returns the place of each sample in its file."""
        return [f"{self._prefix}/{index:05d}" for index in range(len(self))]

    def identity(self, indices: Sequence[int]) -> str:
        """Addresses samples by the files' content and their places in it."""
        return hash_lines([*self._contents, *map(str, indices)])


class FileImages:
    """Images in files of their own, decoded when they are read.

    Args:
        root: Folder.
        names: Paths below it; they are the samples' keys.
        targets: Class indices, (N,) int64.
        contents: What stands for the content of each file: its digest, or its size.
    """

    def __init__(
        self, root: Path, names: Sequence[str], targets: Labels, contents: Sequence[object]
    ) -> None:
        self._root = root
        # Not a list: a million strings would be copied into every process that reads them.
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
        self._targets = targets
        self._contents = np.array([str(content).encode() for content in contents], dtype=np.bytes_)

    @property
    def targets(self) -> Labels:
        """Class indices, (N,) int64."""
        return self._targets

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Returns a PIL image and its class index."""
        return read_image(self.path(index)), int(self._targets[index])

    def path(self, index: int) -> Path:
        """Returns the file of a sample."""
        return self._root / self._name(index)

    def keys(self) -> list[str]:
        """Returns the files' paths below the folder."""
        return [self._name(index) for index in range(len(self))]

    def identity(self, indices: Sequence[int]) -> str:
        """Addresses samples by path below the folder, content and class."""
        return hash_lines(
            f"{self._name(i)!a} {self._contents[i].decode()} {self._targets[i]}" for i in indices
        )

    def _name(self, index: int) -> str:
        return os.fsdecode(bytes(self._names[index]))
