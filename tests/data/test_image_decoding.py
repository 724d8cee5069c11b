"""Images from outside: what is wrong or hostile is told, and nothing large is unfolded."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from energytune.data import image_decoding
from energytune.data.image_decoding import decode_image, from_base64
from energytune.errors import DataError
from tests.registered import png

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def bomb(width: int, height: int) -> bytes:
    """Returns a PNG file of a few bytes that would unfold to ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_bytes_and_files_are_decoded(kind: str, tmp_path: Path) -> None:
    content = png(PIXELS, kind)
    (tmp_path / "image").write_bytes(content)
    for raw in (content, bytearray(content), tmp_path / "image", str(tmp_path / "image")):
        assert np.array(decode_image(raw)).tolist() == PIXELS.tolist()


def test_what_is_an_image_already_passes() -> None:
    for image in (PIXELS, Image.fromarray(PIXELS)):
        assert decode_image(image) is image


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "no image of the formats BMP"),
        (b"hello", "no image of the formats BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of the formats"),
        (png(np.zeros((64, 64, 3), np.uint8), "BMP")[:500], "can't be decoded"),
        (png(np.zeros((4, 4), np.uint16)), "more than 8 bits"),
        (bomb(9000, 9000), "9,000 x 9,000 pixels, more than 67,108,864"),
        (bomb(65535, 65535), "65,535 x 65,535 pixels|too many pixels"),
        ("/no/such/file.png", "No such file"),
    ],
)
def test_what_can_not_be_decoded_says_why(raw: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        decode_image(raw)


def test_the_limit_is_told_before_pixels_are_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(PIXELS)
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 19)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("unfolded"))
    with pytest.raises(DataError, match="5 x 4 pixels, more than 19"):
        decode_image(content)


def test_base64() -> None:
    content = png(PIXELS)
    text = base64.b64encode(content).decode()
    wrapped = base64.encodebytes(content).decode()
    for sent in (text, wrapped, f"data:image/png;base64,{text}", f"  {text}\n"):
        assert from_base64(sent) == content
    large = base64.b64encode(bytes(range(256)) * 9).decode()
    assert from_base64(f"data:image/jpeg;base64,{large}") == bytes(range(256)) * 9


@pytest.mark.parametrize("text", ["%%%", "abc", "", "/etc/passwd", "héllo"])
def test_what_is_no_base64_says_so(text: str) -> None:
    with pytest.raises(DataError, match="base64"):
        from_base64(text)


def test_an_animation_gives_its_first_picture() -> None:
    file = io.BytesIO()
    first, second = (Image.new("L", (3, 2), value) for value in (10, 200))
    first.save(file, "GIF", save_all=True, append_images=[second])
    assert np.array(decode_image(file.getvalue()).convert("L")).tolist() == [[10] * 3] * 2
