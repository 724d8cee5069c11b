from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import DataError
from energytune.training.feature_entry import StoredFeatures
from energytune.training.features import TensorFeatures, content_key, train_view
from energytune.training.features_mapped import MappedFeatures

CPU = torch.device("cpu")


def numbers(*shape: int) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    return values.half().float()


def stored(path: Path, tensor: torch.Tensor, dtype: type = np.float16) -> StoredFeatures:
    """Writes (S, N, ...) with numpy's own writer, an independent one."""
    np.save(path, tensor.numpy().astype(dtype))
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, found = np.lib.format.read_array_header_1_0(file)
        return StoredFeatures(path, shape, found, file.tell())


@pytest.fixture(params=["float32", "float16", "mapped", "mapped float32", "read", "read float32"])
def make(request, tmp_path):
    """Makes features of view 0 and of augmented views, in each way in which they are kept."""

    def features(tensor: torch.Tensor, views: torch.Tensor | None = None):
        if request.param.startswith("float"):
            dtype = getattr(torch, request.param)
            return TensorFeatures(tensor.to(dtype), None if views is None else views.to(dtype))
        slots = tensor[None] if views is None else torch.cat([tensor[None], views])
        dtype = np.float32 if "float32" in request.param else np.float16
        resident = 1 if request.param.startswith("read") else 1 << 30
        entry = stored(tmp_path / "x.npy", slots, dtype)
        return MappedFeatures(entry, resident_bytes=resident, device=CPU)

    return features


@pytest.mark.parametrize("item", [(5,), (3, 2, 2)])
def test_shape_and_device(make, item) -> None:
    features = make(numbers(7, *item))
    assert features.shape == (7, *item)
    assert features.n_views == 1
    assert features.device == CPU


@pytest.mark.parametrize("item", [(5,), (3, 2, 2)])
@pytest.mark.parametrize("order", [[0], [6, 2, 2, 0], [], list(range(7))])
def test_take_is_a_gather_in_float32(make, item, order) -> None:
    tensor = numbers(7, *item)
    indices = torch.tensor(order, dtype=torch.int64)
    taken = make(tensor).take(indices)
    assert taken.dtype == torch.float32
    assert torch.equal(taken, tensor[indices])


def test_what_is_taken_can_be_written_without_harm(make) -> None:
    tensor = numbers(4, 3)
    features = make(tensor.clone())
    features.take(torch.arange(4)).zero_()
    assert torch.equal(features.take(torch.arange(4)), tensor)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_are_all_samples_in_order(make, batch_size) -> None:
    tensor = numbers(7, 2, 2)
    parts = list(make(tensor).batches(batch_size))
    assert {len(part) for part in parts[:-1]} <= {batch_size}
    assert parts[0].dtype == torch.float32
    assert torch.equal(torch.cat(parts), tensor)


def test_views_lie_beside_the_evaluation_transform(make) -> None:
    tensor, views = numbers(4, 3), numbers(2, 4, 3)
    features = make(tensor, views)
    assert features.n_views == 2
    assert features.shape == (4, 3)
    indices = torch.tensor([3, 1])
    assert torch.equal(features.take(indices), tensor[indices])
    assert torch.equal(features.take(indices, 1), views[0][indices])
    assert torch.equal(features.take(indices, 2), views[1][indices])
    assert torch.equal(torch.cat(list(features.batches(3))), tensor)


@pytest.mark.parametrize(("view", "n_views"), [(1, 1), (-1, 1), (3, 2), (-1, 2)])
def test_a_view_that_is_not_there(make, view, n_views) -> None:
    features = make(numbers(4, 3), numbers(2, 4, 3) if n_views == 2 else None)
    with pytest.raises(IndexError, match=f"view .* n_views = {n_views}, got {view}"):
        features.take(torch.tensor([0]), view)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_sample_that_is_not_there(make, index) -> None:
    with pytest.raises(IndexError):
        make(numbers(4, 3)).take(torch.tensor([0, index]))


def test_float64_stays() -> None:
    features = TensorFeatures(torch.ones(3, 2, dtype=torch.float64))
    assert features.take(torch.tensor([0])).dtype == torch.float64
    assert next(features.batches(2)).dtype == torch.float64


@pytest.mark.parametrize(
    "views",
    [torch.ones(1, 3, 2), torch.ones(2, 3, 3), torch.ones(2, 4, 2), torch.ones(2, 3, 2).double()],
)
def test_views_that_do_not_fit(views) -> None:
    with pytest.raises(DataError, match="Augmented views must be"):
        TensorFeatures(torch.ones(3, 2), views)


def test_training_walks_through_the_augmented_views() -> None:
    assert [train_view(epoch, 3) for epoch in range(1, 8)] == [1, 2, 3, 1, 2, 3, 1]
    assert [train_view(epoch, 1) for epoch in range(1, 4)] == [0, 0, 0]


@given(st.integers(1, 10**6), st.integers(2, 50))
def test_every_view_is_seen_once_in_a_round(epoch: int, n_views: int) -> None:
    seen = [train_view(epoch + i, n_views) for i in range(n_views)]
    assert sorted(seen) == list(range(1, n_views + 1))


def test_key_depends_on_every_part_and_not_on_their_order() -> None:
    key = content_key(kind="features", depth=0, split="train")
    assert key == content_key(split="train", depth=0, kind="features")
    assert len(key) == 32
    others = [
        content_key(kind="features", depth=1, split="train"),
        content_key(kind="features", depth=0, split="valid"),
        content_key(kind="features", depth=0),
    ]
    assert len({key, *others}) == 4
