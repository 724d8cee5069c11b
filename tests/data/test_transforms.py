import random

import numpy as np
import pytest
import torch
from PIL import Image

from energytune.config import InputConfig
from energytune.data.transforms import EvalTransform, ScaleTransform, TrainTransform, is_ready
from energytune.errors import ConfigError, DataError

SMALL = InputConfig(size=(3, 32, 32))


def picture(height: int = 40, width: int = 56, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(40, 56), (97, 60), (96, 96), (20, 20)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
def test_evaluation_is_what_timm_does(interpolation, size, crop_pct):
    from timm.data import create_transform

    config = InputConfig(size=(3, 32, 32), interpolation=interpolation, crop_pct=crop_pct)
    theirs = create_transform(
        input_size=config.size,
        interpolation=interpolation,
        mean=config.mean,
        std=config.std,
        crop_pct=crop_pct,
    )
    image = picture(*size)
    assert torch.equal(EvalTransform(config)(image, rng()), theirs(image))


def test_all_forms_of_an_image_are_the_same_image():
    image = picture()
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for transform in (EvalTransform(SMALL), TrainTransform(SMALL), ScaleTransform()):
        expected = transform(image, rng())
        assert torch.equal(transform(array, rng()), expected)
        assert torch.equal(transform(tensor, rng()), expected)


@pytest.mark.parametrize("transform", [EvalTransform(SMALL), TrainTransform(SMALL)])
def test_grey_images_become_colour_and_odd_modes_are_converted(transform):
    grey = picture().convert("L")
    output = transform(grey, rng())
    assert output.shape == (3, 32, 32)
    assert torch.equal(transform(np.array(grey), rng()), output)
    assert torch.equal(transform(np.array(grey)[..., None], rng()), output)
    assert transform(picture().convert("RGBA"), rng()).shape == (3, 32, 32)


def test_one_channel_config():
    config = InputConfig(size=(1, 28, 28), mean=(0.5,), std=(0.5,))
    output = EvalTransform(config)(picture(), rng())
    assert output.shape == (1, 28, 28)
    assert float(output.abs().max()) <= 1.0


def test_training_crops_are_windows_of_the_resized_image_flipped_or_not():
    plain = InputConfig(size=(3, 32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    image = picture(36, 36)  # 32 / 0.875 = 36.6 -> 36: nothing is resized
    full = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255.0
    windows = {}
    for top in range(5):
        for left in range(5):
            window = full[:, top : top + 32, left : left + 32]
            windows[window.numpy().tobytes()] = (top, left, False)
            windows[window.flip(2).contiguous().numpy().tobytes()] = (top, left, True)
    transform = TrainTransform(plain)
    seen = {windows[transform(image, rng(seed)).numpy().tobytes()] for seed in range(400)}
    assert {place[0] for place in seen} == {place[1] for place in seen} == set(range(5))
    assert {place[2] for place in seen} == {False, True}


def test_training_leaves_room_to_crop_where_evaluation_has_none():
    config = InputConfig(size=(3, 32, 32), crop_pct=1.0)
    outputs = {TrainTransform(config)(picture(), rng(s)).numpy().tobytes() for s in range(30)}
    assert len(outputs) > 10


def test_floating_point_images_pass_unchanged():
    ready = torch.randn(3, 10, 11, generator=torch.Generator().manual_seed(0))
    for transform in (EvalTransform(SMALL), TrainTransform(SMALL), ScaleTransform()):
        assert torch.equal(transform(ready, rng()), ready)
        assert torch.equal(transform(ready.numpy().astype(np.float64), rng()), ready)


def test_scale_maps_bytes_to_the_unit_interval():
    image = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    expected = torch.tensor([[[0.0, 0.2, 1.0]]])
    assert torch.equal(ScaleTransform()(image, rng()), expected)
    assert torch.equal(ScaleTransform()(image[0].numpy(), rng()), expected)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("a path", "got a str"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "torch.int64"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"\(2, 3, 4, 4\)"),
        (np.zeros((4, 4), dtype=np.uint16), "uint16"),
    ],
)
def test_what_is_no_image_is_told(bad, told):
    with pytest.raises(DataError, match=told):
        is_ready(bad)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": (4, 32, 32)}, "1 or 3 channels"),
        ({"interpolation": "random"}, "bicubic, bilinear, nearest, got 'random'"),
        ({"crop_pct": 0.0}, r"\(0, 1\], got 0"),
        ({"std": (1.0, 0.0, 1.0)}, "std values > 0"),
        ({"mean": (0.5,)}, "3 values"),
    ],
)
@pytest.mark.parametrize("kind", [EvalTransform, TrainTransform])
def test_impossible_settings_are_told_at_once(kind, change, told):
    with pytest.raises(ConfigError, match=told):
        kind(InputConfig(**change))


def test_ids_tell_transforms_apart():
    ids = {
        transform.id
        for transform in (
            EvalTransform(SMALL),
            TrainTransform(SMALL),
            EvalTransform(InputConfig()),
            EvalTransform(InputConfig(crop_pct=0.9)),
            EvalTransform(InputConfig(interpolation="bilinear")),
            ScaleTransform(),
        )
    }
    assert len(ids) == 6


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_images_of_more_than_8_bits_are_refused(mode):
    """Pillow would turn all but the darkest pixels white."""
    image = Image.new(mode, (20, 20))
    with pytest.raises(DataError, match=f"mode '{mode}'.*8 bits"):
        EvalTransform(InputConfig(size=(3, 16, 16)))(image, random.Random(0))
