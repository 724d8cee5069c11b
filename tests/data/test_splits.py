import pickle

import pytest
import torch

from energytune.data import HeldOut, TensorSplit
from energytune.data import splits as splits_module
from energytune.errors import DataError


def make(n: int = 23) -> TensorSplit:
    return TensorSplit(torch.arange(n * 4.0).view(n, 4), torch.arange(n) % 3)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_without_order_batches_are_the_split_in_order(batch_size):
    split = make()
    batches = list(split.batches(batch_size))
    assert [len(t) for _, t in batches][:-1] == [batch_size] * (len(batches) - 1)
    assert torch.equal(torch.cat([i for i, _ in batches]), split.images)
    assert torch.equal(torch.cat([t for _, t in batches]), split.targets)


@pytest.mark.parametrize("block_elements", [1, 40, 1 << 22])
def test_order_is_followed_whatever_is_gathered_ahead(block_elements, monkeypatch):
    monkeypatch.setattr(splits_module, "_BLOCK_ELEMENTS", block_elements)
    split = make()
    order = torch.tensor([7, 0, 22, 7, 3, 11, 4, 19])
    batches = list(split.batches(3, order=order))
    assert [len(t) for _, t in batches] == [3, 3, 2]
    assert torch.equal(torch.cat([i for i, _ in batches]), split.images[order])
    assert torch.equal(torch.cat([t for _, t in batches]), split.targets[order])


def test_types_are_those_of_the_protocol():
    images, targets = next(
        TensorSplit(
            torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.uint8)
        ).batches(2)
    )
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_lengths_must_agree():
    with pytest.raises(DataError, match=r"one target for each image.*\(3, 2\).*\(4,\)"):
        TensorSplit(torch.zeros(3, 2), torch.zeros(4))


def test_held_out_counts_and_remembers_each_opening():
    held = HeldOut(make())
    assert (len(held), held.n_opened) == (23, 0)
    assert not hasattr(held, "batches")
    assert not hasattr(held, "targets")
    assert isinstance(held.open("confirm t012"), TensorSplit)
    held.open("report")
    assert (held.n_opened, held.reasons) == (2, ("confirm t012", "report"))
    assert "opened 2 times" in repr(held)


def test_splits_travel_between_processes():
    split = pickle.loads(pickle.dumps(make()))
    assert torch.equal(split.images, make().images)
