"""However a batch gets to the device, it is the same batch."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from energytune.config import EngineConfig, InputConfig
from energytune.data import DatasetSplit, TensorSplit
from energytune.data.transforms import EvalTransform, ImageTransform, ScaleTransform, TrainTransform
from energytune.errors import DataError
from energytune.training import feeding
from energytune.training.feeding import (
    PixelSplit,
    device_batches,
    finished_batches,
    resident_batches,
)

CPU = torch.device("cpu")
CONFIG = InputConfig(size=(3, 16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
ORDER = torch.tensor([5, 0, 19, 5, 7, 1, 2])


class Pictures(Dataset):
    """20 random pictures; ``ready`` of them are floating-point, and one may be broken."""

    def __init__(self, channels: int = 3, ready: int = 0, broken: int = -1) -> None:
        rng = np.random.default_rng(0)
        self.images = list(rng.integers(0, 256, (20, 22, 19, channels), dtype=np.uint8))
        for index in range(ready):
            self.images[index] = rng.random((channels, 16, 16), dtype=np.float32)
        self.broken, self.targets = broken, [index % 3 for index in range(20)]

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index):
        if index == self.broken:
            raise OSError("truncated")
        return self.images[index], self.targets[index]


def split_of(
    dataset: Pictures,
    config: InputConfig = CONFIG,
    train: ImageTransform | None = None,
) -> DatasetSplit:
    return DatasetSplit(dataset, EvalTransform(config), train or TrainTransform(config), 0)


def both(split: DatasetSplit, **how):
    wanted = list(split.batches(4, **how))
    how = {"order": None, "augment": False, "seed": 0} | how
    return wanted, list(finished_batches(split, 4, **how, device=CPU))


@pytest.mark.parametrize("how", [{}, {"order": ORDER}, {"augment": True, "seed": 3}])
@pytest.mark.parametrize("ready", [0, 3, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_that_are_finished_later_are_the_same_images(how, ready, channels) -> None:
    config = CONFIG if channels == 3 else InputConfig(size=(1, 16, 16), mean=(0.3,), std=(0.7,))
    wanted, found = both(split_of(Pictures(channels, ready), config), **how)
    for (images, targets), (finished, there, labels) in zip(wanted, found, strict=True):
        assert torch.equal(finished, images)
        assert torch.equal(there, targets)
        assert torch.equal(labels, targets)


def test_only_bytes_cross_and_some_of_them_to_be_flipped() -> None:
    split = split_of(Pictures())
    parts = list(split.pixel_batches(20, augment=True, seed=1))
    ((pixels, flips, _),) = parts
    assert pixels.dtype == torch.uint8
    assert 0 < int(flips.sum()) < 20


def test_transforms_that_can_not_be_parted_give_whole_images() -> None:
    other = InputConfig(size=(3, 16, 16), mean=(0.1, 0.1, 0.1), std=(1.0, 1.0, 1.0))
    for train in (TrainTransform(other), ScaleTransform()):
        images = Pictures()
        images.images = [image[:16, :16] for image in images.images]
        wanted, found = both(split_of(images, train=train), augment=True, seed=2)
        assert all(torch.equal(a[0], b[0]) for a, b in zip(wanted, found, strict=True))


def test_a_broken_image_is_told_in_this_way_too() -> None:
    with pytest.raises(DataError, match=r"Sample 9 .* can't be read: OSError: truncated"):
        list(finished_batches(split_of(Pictures(broken=9)), 4, None, False, 0, CPU))


def test_loaders_are_left_behind_by_copies() -> None:
    split = split_of(Pictures())
    list(split.pixel_batches(4))
    copy = pickle.loads(pickle.dumps(split))
    assert copy._loaders == {}
    assert isinstance(copy, PixelSplit)


@pytest.mark.parametrize("order", [None, ORDER])
def test_a_split_that_lies_on_the_device_gives_the_same_batches(train, order) -> None:
    wanted = list(train.batches(4, order=order))
    found = list(resident_batches(train, 4, order, CPU))
    for (inputs, targets), (there, classes, labels) in zip(wanted, found, strict=True):
        assert torch.equal(there, inputs)
        assert torch.equal(classes, targets)
        assert torch.equal(labels, targets)


def test_the_copy_on_the_device_lives_as_long_as_the_split() -> None:
    gc.collect()
    before = len(feeding._residents)
    split = TensorSplit(torch.randn(6, 3), torch.zeros(6))
    list(resident_batches(split, 2, None, CPU))
    list(resident_batches(split, 2, ORDER[:1], CPU))
    assert len(feeding._residents) == before + 1
    del split
    gc.collect()
    assert len(feeding._residents) == before


def test_on_the_cpu_batches_are_the_splits_own(train) -> None:
    for (inputs, targets), (there, classes, labels) in zip(
        train.batches(8), device_batches(train, 8, device=CPU, engine=EngineConfig()), strict=True
    ):
        assert there.data_ptr() == inputs.data_ptr()
        assert classes is labels
        assert torch.equal(labels, targets)
