"""Reads one image file, to the last byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from energytune.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "is_image_name", "read_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded, whatever a file is called: of Pillow's other formats some start programs."""
_SUFFIXES = ("bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "ppm", "tif", "tiff")
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in (*_SUFFIXES, "webp"))
"""Endings, in lower case, of what counts as an image file."""

_WIDE_MODES = ("I", "F")


def is_image_name(name: str) -> bool:
    """Returns whether a file of that name counts as an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_image(source: Path | BinaryIO) -> Image.Image:
    """Decodes an image.

    Args:
        source: A path, or a file opened for reading.

    Raises:
        OSError: It is no image, or cut short.
        DataError: Its pixels have more than 8 bits.
        PIL.Image.DecompressionBombError: It would unfold to more pixels than Pillow allows.
    """
    from PIL import Image

    if isinstance(source, Path):
        if source.exists() and not source.is_file():
            raise OSError(f"{source} is no file: a folder, a pipe or a device")
        with source.open("rb") as file:
            return read_image(file)
    picture = Image.open(source, formats=FORMATS)
    picture.load()  # opening reads the header only
    if picture.mode.partition(";")[0] in _WIDE_MODES:
        # Pillow would clip them to 255: a 16-bit picture turns white without a word.
        raise DataError(
            f"its pixels have more than 8 bits (Pillow's mode {picture.mode!r}). Scale them to "
            "0..255 and save it as 8-bit grey or colour."
        )
    return picture
