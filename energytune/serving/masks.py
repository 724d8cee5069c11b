"""Predicted masks as PNG files: class indices as values, PASCAL VOC's colours as palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from energytune.data.mask_files import voc_palette
from energytune.paths import atomic_file

__all__ = ["MaskWriter"]

_ADVICE = "Choose another --out-dir."


class MaskWriter:
    """Writes masks into a folder, each under the name of its image.

    Args:
        folder: Made when the first mask is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: dict[str, int] = {}

    def write(self, name: str, mask: NDArray[Any]) -> Path:
        """Writes one mask and returns its file; images of one name get numbers.

        Args:
            name: The image's path.
            mask: Class of each pixel, (height, width), below 256.

        Raises:
            OutputError: The folder can't be written.
        """
        stem = Path(name).stem or "mask"
        self._taken[stem] = number = self._taken.get(stem, 0) + 1
        path = self._folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        picture = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
        picture.putpalette(voc_palette().reshape(-1).tolist())
        with atomic_file(path, _ADVICE) as file:
            picture.save(file, "PNG")
        return path
