import numpy as np
import pytest
from PIL import Image

from energytune.data.mask_files import (
    MaskPair,
    check_same_size,
    read_image,
    read_mask,
    voc_palette,
)
from energytune.errors import DataError

NAMES = ("background", "aeroplane", "bicycle")
INDICES = np.array([[0, 1, 2], [255, 2, 1]], dtype=np.uint8)


def save(path, array, mode=None):
    picture = Image.fromarray(array) if mode is None else Image.fromarray(array, mode=mode)
    if mode == "P":
        picture.putpalette(voc_palette().reshape(-1).tolist())
    picture.save(path)
    return path


def test_the_palette_is_vocs():
    palette = voc_palette()
    assert palette[[0, 1, 2, 15, 20]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
    ]
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


@pytest.mark.parametrize("mode", ["P", "L"])
def test_indices_are_read_and_not_colours(tmp_path, mode):
    path = save(tmp_path / "mask.png", INDICES, mode)
    assert Image.open(path).mode == mode
    mask = read_mask(path, NAMES)
    assert mask.mode == "L"
    assert np.array_equal(np.array(mask), INDICES)


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_voc_become_indices(tmp_path, alpha):
    colours = voc_palette()[INDICES]
    if alpha:
        colours = np.concatenate([colours, np.full((2, 3, 1), 255, np.uint8)], axis=2)
    mask = read_mask(save(tmp_path / "mask.png", colours), NAMES)
    assert np.array_equal(np.array(mask), INDICES)


def test_an_unknown_class_is_named_with_its_pixel(tmp_path):
    indices = INDICES.copy()
    indices[1, 1] = indices[1, 2] = 7
    path = save(tmp_path / "mask.png", indices, "P")
    with pytest.raises(DataError) as caught:
        read_mask(path, NAMES)
    message = str(caught.value)
    assert str(path) in message
    assert "2 pixels are no class" in message
    assert "row 1 and column 1, is 7" in message
    assert "0 to 2 (background, aeroplane, bicycle)" in message
    assert "255" in message


def test_an_unknown_colour_is_named_with_its_pixel(tmp_path):
    colours = voc_palette()[INDICES]
    colours[1, 0] = (1, 2, 3)
    path = save(tmp_path / "mask.png", colours)
    with pytest.raises(DataError, match=r"(?s)mask.png.*\(1, 2, 3\) in row 1 and column 0"):
        read_mask(path, NAMES)


def test_a_mask_of_more_than_a_byte_a_pixel_is_refused(tmp_path):
    path = save(tmp_path / "mask.png", INDICES.astype(np.uint16) * 256)
    with pytest.raises(DataError, match=r"(?s)mask.png.*mode 'I;16'.*8-bit PNG"):
        read_mask(path, NAMES)


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_what_cant_be_read_is_named(tmp_path, content):
    path = tmp_path / "image.png"
    if content == "cut":
        noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        content = save(path, noise).read_bytes()[:900]
    path.write_bytes(content)
    for read in (read_image, lambda file: read_mask(file, NAMES)):
        with pytest.raises(DataError, match=r"image.png can't be read as an image"):
            read(path)


def test_sizes_must_agree(tmp_path):
    pair = MaskPair("a", tmp_path / "a.jpg", tmp_path / "a.png")
    check_same_size(pair, (3, 2), (3, 2))
    with pytest.raises(DataError, match=r"a.jpg has 3 x 2 pixels and .*a.png has 2 x 3"):
        check_same_size(pair, (3, 2), (2, 3))
