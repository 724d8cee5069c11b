import pytest
import torch

from energytune.data.validation_pixels import class_pixels, validate_pixels
from energytune.errors import DataError

NAMES = ("background", "cat", "dog")


def counts(**parts):
    return {part: torch.tensor(values) for part, values in parts.items()}


def test_pixels_are_counted_by_class():
    masks = torch.tensor([[[0, 1], [1, 255]], [[0, 0], [255, 1]]])
    assert class_pixels(masks, 3).tolist() == [3, 3, 0]
    assert class_pixels(masks.to(torch.uint8), 3).tolist() == [3, 3, 0]
    assert class_pixels(torch.tensor([-1, 2]), 3).tolist() == [0, 0, 1]


def test_sound_splits_pass_also_without_a_class_that_is_nowhere():
    validate_pixels(counts(train=[5, 1, 0], valid=[3, 0, 0], test=[0, 2, 0]), NAMES)


def test_a_class_that_train_lacks_is_named_with_its_pixels():
    with pytest.raises(DataError, match=r"'mine'.*'dog' \(class 2: 7 in valid, 1,200 in test\)"):
        validate_pixels(
            counts(train=[5, 1, 0], valid=[3, 0, 7], test=[0, 2, 1200]), NAMES, name="mine"
        )


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_split_without_a_labelled_pixel_is_named(part):
    pixels = counts(train=[5, 1, 0], valid=[3, 1, 0], test=[3, 1, 0])
    pixels[part] = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DataError, match=f"No labelled pixel: .* the {part} split"):
        validate_pixels(pixels, NAMES)


def test_one_class_is_not_enough():
    with pytest.raises(DataError, match=r"One class only: .*'cat'"):
        validate_pixels(counts(train=[0, 4, 0], valid=[0, 1, 0], test=[0, 1, 0]), NAMES)
