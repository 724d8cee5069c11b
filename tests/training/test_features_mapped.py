"""When a file is mapped and when it is read; the numbers are tested with all kinds of features."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from energytune.errors import DataError
from energytune.training import features_mapped
from energytune.training.feature_entry import StoredFeatures
from energytune.training.features_mapped import MappedFeatures

N, D, OFFSET = 64, 512, 128
VALUES = (np.arange(N * D, dtype=np.float32).reshape(1, N, D) % 1000).astype(np.float16)


@pytest.fixture
def stored(tmp_path) -> StoredFeatures:
    path = tmp_path / "features.npy"
    path.write_bytes(b"\0" * OFFSET + VALUES.tobytes())
    return StoredFeatures(path, VALUES.shape, VALUES.dtype, OFFSET)


@pytest.fixture
def make(stored):
    def features(resident_bytes: int) -> MappedFeatures:
        return MappedFeatures(stored, resident_bytes=resident_bytes, device=torch.device("cpu"))

    return features


@pytest.fixture
def reads(monkeypatch) -> list[tuple[int, int]]:
    """(bytes, position) of each read."""
    seen: list[tuple[int, int]] = []
    read = os.preadv

    def preadv(file, buffers, position):
        seen.append((sum(map(len, buffers)), position))
        return read(file, buffers, position)

    monkeypatch.setattr(os, "preadv", preadv)
    return seen


def test_only_a_file_that_fits_is_mapped(make, stored) -> None:
    assert make(stored.n_bytes).is_mapped
    assert not make(stored.n_bytes - 1).is_mapped


def test_of_a_larger_file_just_the_wanted_rows_are_read(make, reads) -> None:
    features = make(1)
    taken = features.take(torch.tensor([5, 2]))
    assert np.array_equal(taken.numpy(), VALUES[0, [5, 2]])
    assert reads == [(2 * D, OFFSET + 5 * 2 * D), (2 * D, OFFSET + 2 * 2 * D)]


def test_batches_are_one_read_each(make, reads) -> None:
    parts = list(make(1).batches(30))
    assert np.array_equal(torch.cat(parts).numpy(), VALUES[0])
    assert [n_bytes // (2 * D) for n_bytes, _ in reads] == [30, 30, 4]


def test_a_mapped_file_is_not_read(make, reads) -> None:
    features = make(1 << 30)
    features.take(torch.arange(N))
    list(features.batches(30))
    assert reads == []


@pytest.mark.parametrize("longest", [1, 1000, 10**6])
def test_what_the_system_gives_in_pieces_is_put_together(make, monkeypatch, longest) -> None:
    read = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda file, buffers, at: read(file, [buffers[0][:longest]], at)
    )
    monkeypatch.setattr(features_mapped, "_LONGEST_READ", 700)
    taken = make(1).take(torch.tensor([9]))
    assert np.array_equal(taken.numpy(), VALUES[0, [9]])


def test_a_file_that_is_cut_short_in_use_is_told(make, stored) -> None:
    features = make(1)
    os.truncate(stored.path, OFFSET + 10 * 2 * D)
    assert features.take(torch.tensor([9])).shape == (1, D)
    with pytest.raises(DataError, match="cut short while they were in use"):
        features.take(torch.tensor([10]))


@pytest.mark.parametrize("resident_bytes", [1, 1 << 30])
def test_the_file_may_be_removed_while_it_is_read(make, stored, resident_bytes) -> None:
    features = make(resident_bytes)
    stored.path.unlink()
    assert np.array_equal(features.take(torch.tensor([5])).numpy(), VALUES[0, [5]])


@pytest.mark.parametrize("resident_bytes", [1, 1 << 30])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_write_to_a_batch_does_not_reach_the_file(tmp_path, resident_bytes, dtype) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(VALUES.astype(dtype).tobytes())
    stored = StoredFeatures(path, VALUES.shape, np.dtype(dtype), 0)
    features = MappedFeatures(stored, resident_bytes=resident_bytes, device=torch.device("cpu"))
    for batch in features.batches(30):
        batch.zero_()
    assert np.array_equal(torch.cat(list(features.batches(30))).numpy(), VALUES[0])
