from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from energytune.errors import DataError, OutputError
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.training.feature_store import FeatureStore
from energytune.training.features import TensorFeatures
from energytune.training.features_budget import CacheBudget
from energytune.training.features_load import load_features, open_features
from energytune.training.features_mapped import MappedFeatures
from energytune.training.features_recomputed import RecomputedFeatures

KEY = "k" * 32
N_BYTES = 40 * 128 * 2
AMPLE = CacheBudget(10**9, 10**9)
CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


@pytest.fixture
def load(store, watch):
    def features(source, budget: CacheBudget = AMPLE, key: str = KEY):
        return load_features(store, key, source, budget=budget, parts={}, progress=watch)

    return features


@pytest.fixture
def rounded(make_source) -> torch.Tensor:
    return torch.cat(list(make_source().batches())).half().float()


def whole(features) -> torch.Tensor:
    return torch.cat(list(features.batches(7)))


def test_first_and_later_runs_see_the_same_rounded_numbers(
    load, make_source, rounded, watch
) -> None:
    first = load(make_source())
    assert watch.done == {"features of valid, depth 0": 40}
    watch.done.clear()
    later = load(make_source(make_model=None))  # no network is built
    assert watch.done == {}
    assert watch.notes == []
    assert isinstance(first, TensorFeatures)
    assert torch.equal(whole(first), rounded)
    assert torch.equal(whole(later), rounded)


def test_over_the_budget_it_recomputes_and_says_so(
    load, store, make_source, rounded, watch, tmp_path
) -> None:
    budget = CacheBudget(N_BYTES - 1, 10**9, "a quarter of the free disk")
    features = load(make_source(), budget)
    assert isinstance(features, RecomputedFeatures)
    torch.testing.assert_close(whole(features), rounded, rtol=1e-3, atol=1e-4)
    assert watch.notes == [
        "features of valid at depth 0 need 10.2 kB, over the budget of 10.2 kB (a quarter of the "
        "free disk): the frozen part of the network runs in every epoch instead. --cache-budget "
        "raises it"
    ]
    assert watch.done == {}
    assert not (tmp_path / "features").exists()


def test_the_budget_holds_for_all_features_together(load, make_source, watch, tmp_path) -> None:
    size = N_BYTES + 128  # with the file's header
    budget = CacheBudget(size + N_BYTES, 10**9)
    assert isinstance(load(make_source(), budget, "a" * 32), TensorFeatures)
    assert isinstance(load(make_source(), budget, "b" * 32), TensorFeatures)
    assert isinstance(load(make_source(), budget, "c" * 32), RecomputedFeatures)
    assert "of which cached features hold 20.7 kB" in watch.notes[0]
    assert isinstance(load(make_source(), budget, "a" * 32), TensorFeatures)  # it is there


def test_float32_over_the_budget_is_found_while_writing(
    load, make_source, valid, watch, tmp_path
) -> None:
    images = valid.images.clone()
    images[3, 3] = 1e6
    split = type(valid)(images, valid.targets)
    module = nn.Sequential(nn.Identity())
    model = TaskModel(module, nn.Linear(64, 3), cut=NoTail(module), spec={})
    features = load(
        make_source(make_model=lambda: model, split=split), CacheBudget(40 * 64 * 4 - 1, 10**9)
    )
    assert isinstance(features, RecomputedFeatures)
    assert features.take(torch.tensor([3]))[0, 3] == 1e6  # not rounded to infinity
    assert list(watch.done) == ["features of valid, depth 0"]
    assert "need 10.2 kB" in watch.notes[0]
    assert list((tmp_path / "features").iterdir()) == []


def test_what_is_large_is_mapped(load, make_source, rounded) -> None:
    features = load(make_source(), CacheBudget(10**9, 40 * 128 * 4 - 1))
    assert isinstance(features, MappedFeatures)
    assert torch.equal(whole(features), rounded)
    assert isinstance(load(make_source(), CacheBudget(10**9, 40 * 128 * 4)), TensorFeatures)


def test_large_features_are_mapped_however_much_memory_there_is(load, make_source, store) -> None:
    load(make_source())
    stored = store.find(KEY, 1, 40)
    large = type(stored)(stored.path, (1, 10**6, 128), np.dtype("<f2"), stored.offset)
    with pytest.raises(ValueError, match="buffer is smaller"):  # it tries to map, not to load
        open_features(large, budget=CacheBudget(0, 10**12), device=CPU)


def test_views_lie_beside_each_other(load, make_source, rounded) -> None:
    for ram_bytes in (10**9, 1):
        features = load(make_source(n_views=2), CacheBudget(10**9, ram_bytes), "v" * 32)
        assert features.n_views == 2
        assert features.shape == (40, 128)
        order = torch.arange(40)
        for view in range(3):  # this split has no augmentation
            assert torch.equal(features.take(order, view), rounded)


def test_an_entry_with_other_views_is_not_taken(load, make_source, watch) -> None:
    load(make_source())
    watch.done.clear()
    assert load(make_source(n_views=2)).n_views == 2
    assert watch.done == {"features of valid, depth 0": 120}


def test_recomputed_features_are_read_by_index(make_source, rounded) -> None:
    features = RecomputedFeatures(make_source(n_views=2))
    assert (features.shape, features.n_views, features.device) == ((40, 128), 2, CPU)
    indices = torch.tensor([39, 0, 0, 7])
    for view in range(3):
        torch.testing.assert_close(
            features.take(indices, view), rounded[indices], rtol=1e-3, atol=1e-4
        )
    taken = features.take(indices)
    assert torch.equal(taken, taken.half().float())
    assert features.take(torch.tensor([], dtype=torch.int64)).shape == (0, 128)
    for bad in (-1, 40):
        with pytest.raises(IndexError, match=r"indices must be in 0\.\.39"):
            features.take(torch.tensor([bad]))
    with pytest.raises(IndexError, match=r"view must be in 0\.\.2"):
        features.take(indices, 3)


def test_recomputed_zeros_are_refused(make_source) -> None:
    class Zero(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0

    model = TaskModel(Zero(), nn.Linear(64, 3), cut=NoTail(Zero()), spec={})
    features = RecomputedFeatures(make_source(make_model=lambda: model))
    with pytest.raises(DataError, match="only zeros"):
        list(features.batches(16))


def test_bad_features_leave_nothing_behind(load, make_source, valid, tmp_path) -> None:
    images = valid.images.clone()
    images[30] = float("inf")
    with pytest.raises(DataError, match="sample 30 of valid"):
        load(make_source(split=type(valid)(images, valid.targets)))
    assert list((tmp_path / "features").iterdir()) == []


def test_waiting_for_another_process_is_told(store, make_source, watch, load) -> None:
    class Waits(FeatureStore):
        def get(self, *arguments, on_wait, **named):
            on_wait()
            raise OutputError("stop here")

    with pytest.raises(OutputError, match="stop here"):
        load_features(
            Waits(store._root), KEY, make_source(), budget=AMPLE, parts={}, progress=watch
        )
    assert watch.notes == [
        "features of valid, depth 0: another process computes them; waiting for it"
    ]
