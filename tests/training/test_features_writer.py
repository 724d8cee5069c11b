from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from torch import nn

from energytune.data import TensorSplit
from energytune.errors import DataError
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.training.features_writer import TooLarge, needed_bytes, write_features


def passing(*layers: nn.Module) -> TaskModel:
    """A network whose features are its inputs, or what the layers make of them."""
    module = nn.Sequential(nn.Identity(), *layers)
    return TaskModel(module, nn.Linear(3, 3), cut=NoTail(module), spec={})


def source_of(make_source, images: torch.Tensor, *layers: nn.Module, **changes):
    split = TensorSplit(images, torch.zeros(len(images), dtype=torch.int64))
    return make_source(make_model=lambda: passing(*layers), split=split, batch_size=4, **changes)


@pytest.mark.parametrize("item", [(3,), (3, 2, 2)])
@pytest.mark.parametrize("n_views", [1, 3])
def test_the_file_is_what_numpy_reads(make_source, tmp_path, watch, item, n_views) -> None:
    images = torch.randn(10, *item, generator=torch.Generator().manual_seed(0))
    source = source_of(make_source, images, n_views=n_views)
    written = write_features(tmp_path, source, limit_bytes=10**9, progress=watch)
    array = np.load(tmp_path / "features.npy")
    n_slots = 1 if n_views == 1 else 4
    assert array.shape == written.shape == (n_slots, 10, *item)
    assert array.dtype.str == written.dtype == "<f2"
    for slot in array:
        assert np.array_equal(slot, images.half().numpy())
    assert written.crc32 == zlib.crc32((tmp_path / "features.npy").read_bytes())
    assert needed_bytes(source) == array.nbytes
    assert watch.done == {"features of valid, depth 0": 10 * n_slots}


def test_features_beyond_half_precision_are_kept_in_float32(make_source, tmp_path, watch) -> None:
    images = torch.ones(10, 3)
    images[9, 1] = 1e6
    source = source_of(make_source, images)
    written = write_features(tmp_path, source, limit_bytes=120, progress=watch)
    assert written.dtype == "<f4"
    assert np.array_equal(np.load(tmp_path / "features.npy")[0], images.numpy())
    assert written.crc32 == zlib.crc32((tmp_path / "features.npy").read_bytes())


def test_float32_counts_against_the_limit_as_well(make_source, tmp_path, watch) -> None:
    source = source_of(make_source, torch.full((10, 3), 1e6))
    with pytest.raises(TooLarge) as caught:
        write_features(tmp_path, source, limit_bytes=119, progress=watch)
    assert caught.value.n_bytes == 120


def test_nothing_is_written_over_the_limit(make_source, tmp_path, watch) -> None:
    source = source_of(make_source, torch.ones(10, 3))
    with pytest.raises(TooLarge):
        write_features(tmp_path, source, limit_bytes=59, progress=watch)
    assert list(tmp_path.iterdir()) == []
    assert watch.done == {}


def test_a_backbone_of_zeros_is_refused(make_source, tmp_path, watch) -> None:
    source = source_of(make_source, -torch.ones(10, 3), nn.ReLU())
    with pytest.raises(DataError, match=r"only zeros: every feature of every sample of valid"):
        write_features(tmp_path, source, limit_bytes=10**9, progress=watch)


def test_one_number_that_is_not_0_is_enough(make_source, tmp_path, watch) -> None:
    images = torch.zeros(10, 3)
    images[7, 2] = 0.5
    source = source_of(make_source, images)
    written = write_features(tmp_path, source, limit_bytes=10**9, progress=watch)
    assert written.shape == (1, 10, 3)
