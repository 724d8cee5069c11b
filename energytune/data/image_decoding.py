"""Images as they come from outside: bytes, files, base64 text, pictures, arrays.

Whatever is sent here may be wrong or hostile, so the header is read first and large pictures are
refused before they unfold. Only the usual formats are decoded: Pillow knows others, some of which
start programs.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from energytune.data.image_reading import FORMATS
from energytune.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_PIXELS", "decode_image", "from_base64"]

MAX_PIXELS = 64 << 20
"""Largest image, width x height: 67 million pixels, 200 MB in memory."""

_MAX_LETTERS = 6 * MAX_PIXELS
"""Of base64: four bytes a pixel, line breaks included."""
_WIDE_MODES = ("I", "F")
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


def from_base64(text: str) -> bytes:
    """Returns the bytes of base64 text; line breaks and the head of a data URL are passed over.

    Raises:
        DataError: It is no base64, or longer than any image that is taken.
    """
    if len(text) > _MAX_LETTERS:
        raise DataError(
            f"it has {len(text):,} letters, more than {_MAX_LETTERS:,}. Make it smaller"
        )
    stripped = "".join(_DATA_URL.sub("", text.lstrip()[:64], count=1).split())
    stripped += "".join(text.lstrip()[64:].split())
    try:
        content = base64.b64decode(stripped, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise DataError(
            f"it is no base64 text ({failure}). Send the bytes of the image file in base64"
        ) from failure
    if not content:
        raise DataError("it is empty. Send the bytes of an image file in base64")
    return content


def decode_image(raw: Any) -> Any:
    """Returns a picture of Pillow's; arrays, tensors and pictures pass unchanged.

    Args:
        raw: The bytes of an image file, a path, or what
            :mod:`energytune.data.transforms` takes.

    Raises:
        DataError: It is no image, is cut short, has more than 8 bits a channel or more than
            :data:`MAX_PIXELS` pixels.
    """
    if isinstance(raw, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(bytes(raw)))
    if isinstance(raw, str | os.PathLike):
        path = Path(raw)
        try:
            if path.exists() and not path.is_file():
                raise DataError("it is no file: a folder, a pipe or a device")
            with path.open("rb") as file:
                return _decoded(file)
        except DataError:
            raise
        except (OSError, ValueError) as failure:  # ValueError: a zero byte in the path
            reason = getattr(failure, "strerror", None) or failure
            raise DataError(f"it can't be opened: {reason}") from failure
    return raw


def _decoded(file: BinaryIO) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is told below
        try:
            picture = Image.open(file, formats=FORMATS)
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"it has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,} together. "
                    "Make it smaller"
                )
            picture.load()
        except DataError:
            raise
        except UnidentifiedImageError as failure:
            raise DataError(f"it is no image of the formats {', '.join(FORMATS)}") from failure
        except Image.DecompressionBombError as failure:
            raise DataError("it unfolds to too many pixels. Make it smaller") from failure
        except Exception as failure:  # decoders raise OSError, ValueError, SyntaxError, struct...
            raise DataError(f"it can't be decoded: {failure}") from failure
    if picture.mode.partition(";")[0] in _WIDE_MODES:
        raise DataError(
            f"its pixels have more than 8 bits (Pillow's mode {picture.mode!r}). Save it as 8-bit "
            "grey or colour"
        )
    return picture
