"""Images and their masks as files: read with errors that name the file.

A mask holds the class of each pixel as its value, or 255 for a pixel without a label: PNG files
with a palette are read by index, whatever colours the palette shows, and grey ones by value.
Masks in colour are read by the palette of PASCAL VOC, of which no other class has a colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from energytune.data.image_reading import FORMATS
from energytune.data.joint_transforms import UNLABELLED
from energytune.errors import DataError

__all__ = ["MaskPair", "check_same_size", "read_image", "read_mask", "voc_palette"]


@dataclass(frozen=True)
class MaskPair:
    """One sample on disk.

    Attributes:
        key: What names it for ever.
        image: Its image's file.
        mask: Its mask's file.
    """

    key: str
    image: Path
    mask: Path


def read_image(path: Path) -> Image.Image:
    """Returns the decoded image.

    Raises:
        DataError: It can't be read; names the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise DataError(
            f"{path} can't be read as an image: {type(failure).__name__}: {failure}. Replace "
            "the file, or take it out of the list that names it."
        ) from failure


def read_mask(path: Path, class_names: Sequence[str]) -> Image.Image:
    """Returns the mask as class indices, of mode ``"L"``.

    Args:
        path: Its file.
        class_names: Of the K classes.

    Raises:
        DataError: It can't be read, its values are no class indices, or one is neither in
            [0, K) nor 255; names the file, the value, the pixel and the classes.
    """
    mask = read_image(path)
    if mask.mode in ("P", "L"):
        indices = np.array(mask, dtype=np.uint8)
    elif mask.mode in ("RGB", "RGBA"):
        indices = _from_colours(np.array(mask.convert("RGB")), path)
    else:
        raise DataError(
            f"{path} can't be a mask: its values are of mode {mask.mode!r}, but must be one byte "
            "a pixel (a PNG file with a palette, or in grey) or the colours of PASCAL VOC. Save "
            "the class indices as an 8-bit PNG."
        )
    wrong = (indices >= len(class_names)) & (indices != UNLABELLED)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        raise DataError(
            f"{path} has an unknown class: {int(wrong.sum()):,} pixels are no class, the first, "
            f"in row {row} and column {column}, is {int(indices[row, column])}. The "
            f"{len(class_names)} known classes are 0 to {len(class_names) - 1} "
            f"({', '.join(class_names)}), and {UNLABELLED} is a pixel without a label."
        )
    return Image.fromarray(indices)


def check_same_size(pair: MaskPair, image: tuple[int, int], mask: tuple[int, int]) -> None:
    """Checks that image and mask cover each other.

    Args:
        pair: The sample.
        image: Width and height of its image.
        mask: Width and height of its mask.

    Raises:
        DataError: They differ in size; names both files.
    """
    if image != mask:
        raise DataError(
            f"An image and its mask must be of one size, but {pair.image} has {image[0]} x "
            f"{image[1]} pixels and {pair.mask} has {mask[0]} x {mask[1]} (width x height). "
            "Make one anew from the same original."
        )


@cache
def voc_palette() -> NDArray[np.uint8]:
    """Returns the colours of PASCAL VOC's classes, (256, 3): the bits of an index, interleaved."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    indices = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((indices >> channel) & 1) << (7 - bit)).astype(np.uint8)
        indices >>= 3
    return colours


def _from_colours(colours: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Returns the indices of VOC's colours, (H, W), for pixels (H, W, 3).

    Raises:
        DataError: A colour is not one of them; names the file, the colour and the pixel.
    """
    index_of = {value: index for index, value in enumerate(_packed(voc_palette()).tolist())}
    packed = _packed(colours)
    present, inverse = np.unique(packed, return_inverse=True)
    indices = np.array([index_of.get(int(value), -1) for value in present])
    if (indices < 0).any():
        unknown = int(present[indices < 0][0])
        row, column = (int(place) for place in np.argwhere(packed == unknown)[0])
        colour = tuple(int(value) for value in colours[row, column])
        raise DataError(
            f"{path} is a mask in colour, and {colour} in row {row} and column {column} (red, "
            "green, blue) is no colour of PASCAL VOC's palette. Save the class indices as an "
            "8-bit PNG, without blending at the edges."
        )
    return indices[inverse].reshape(packed.shape).astype(np.uint8)


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns one number a colour, (...), of colours (..., 3)."""
    wide = colours.astype(np.int64)
    packed: NDArray[np.int64] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed
