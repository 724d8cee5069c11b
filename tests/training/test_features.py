from __future__ import annotations

import errno
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from energytune.errors import DataError, OutputError
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.training.features import FeatureStore, content_key, extract_features

CPU = torch.device("cpu")
KEY = "k" * 32


class Source:
    """Gives features and counts how often it was asked."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features
        self.n_calls = 0

    def __call__(self) -> torch.Tensor:
        self.n_calls += 1
        return self.features


@pytest.fixture
def source() -> Source:
    return Source(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def test_first_and_later_runs_see_the_same_rounded_numbers(store, source, tmp_path) -> None:
    first = store.get(KEY, 6, source)
    later = store.get(KEY, 6, source)
    other_process = FeatureStore(tmp_path / "features").get(KEY, 6, source)
    assert source.n_calls == 1
    assert first.dtype == torch.float32
    assert torch.equal(first, source.features.half().float())
    assert torch.equal(first, later)
    assert torch.equal(first, other_process)


def test_what_is_given_out_can_be_written_without_harm(store, source) -> None:
    store.get(KEY, 6, source).zero_()
    assert torch.equal(store.get(KEY, 6, source), source.features.half().float())


def test_it_is_half_precision_on_disk_and_alone_in_its_folder(store, source, tmp_path) -> None:
    store.get(KEY, 6, source)
    (path,) = (tmp_path / "features").iterdir()
    assert np.load(path).dtype == np.float16


def test_spatial_features_keep_their_shape(store) -> None:
    features = torch.randn(4, 3, 2, 2)
    assert store.get(KEY, 4, lambda: features).shape == (4, 3, 2, 2)
    assert store.get(KEY, 4, lambda: features).shape == (4, 3, 2, 2)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "pickle", "rows", "dtype", "flat"])
def test_a_damaged_or_foreign_file_is_built_again(store, source, tmp_path, damage) -> None:
    store.get(KEY, 6, source)
    (path,) = (tmp_path / "features").iterdir()
    content = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[:-7])
    elif damage == "garbage":
        path.write_bytes(b"\x00" * len(content))
    elif damage == "pickle":
        np.save(path, np.array([{"code": "evil"}] * 6, dtype=object), allow_pickle=True)
    elif damage == "rows":
        np.save(path, np.zeros((5, 5), np.float16))
    elif damage == "dtype":
        np.save(path, np.zeros((6, 5), np.int32))
    else:
        np.save(path, np.zeros(6, np.float16))
    again = store.get(KEY, 6, source)
    assert source.n_calls == 2
    assert torch.equal(again, source.features.half().float())
    assert path.read_bytes() == content


def test_features_beyond_half_precision_stay_finite(store) -> None:
    source = Source(torch.tensor([[1e6, 1.0], [-2e5, 0.1]]))
    first = store.get(KEY, 2, source)
    assert torch.equal(first, source.features)
    assert torch.equal(store.get(KEY, 2, source), first)
    assert source.n_calls == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_features_are_refused_with_the_first_sample(store, tmp_path, bad) -> None:
    features = torch.ones(5, 2, 3)
    features[3, 1, 1] = bad
    features[4, 0, 0] = bad
    with pytest.raises(DataError, match="2 of 5 samples, the first at index 3"):
        store.get(KEY, 5, lambda: features)
    assert not (tmp_path / "features").exists()


def test_a_disk_without_room_is_told_before_writing(store, source, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(100, 90, 10))
    with pytest.raises(OutputError, match=r"need 60 bytes .* 10 free.*ENERGYTUNE_CACHE"):
        store.get(KEY, 6, source)
    assert not (tmp_path / "features").exists()


def test_a_disk_that_fills_while_writing_leaves_nothing(
    store, source, tmp_path, monkeypatch
) -> None:
    def full(file, *_args, **_kwargs) -> None:
        file.write(b"the first half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        store.get(KEY, 6, source)
    assert list((tmp_path / "features").iterdir()) == []


def test_a_folder_that_cannot_be_written(source, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="can't be written"):
        FeatureStore(tmp_path / "file" / "features").get(KEY, 6, source)


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


# extract_features


def test_features_do_not_depend_on_the_batch_size(make_model, valid) -> None:
    model = make_model()
    steps: list[int] = []
    small = extract_features(model, valid, batch_size=7, device=CPU, advance=steps.append)
    large = extract_features(model, valid, batch_size=1000, device=CPU)
    assert small.shape == (40, 128)
    torch.testing.assert_close(small, large, rtol=0, atol=1e-5)
    assert sum(steps) == 40
    assert not small.requires_grad


@pytest.mark.parametrize("depth", [0, 2])
def test_features_are_those_at_the_cut(make_model, valid, depth) -> None:
    model = make_model(depth=depth)
    features = extract_features(model, valid, batch_size=40, device=CPU)
    with torch.no_grad():
        torch.testing.assert_close(model.from_features(features), model(valid.images))


def test_batch_norm_and_dropout_neither_drift_nor_draw(valid, same_tensors) -> None:
    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    model = TaskModel(network, nn.Linear(8, 3), cut=NoTail(network), spec={})
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    first = extract_features(model, valid, batch_size=16, device=CPU)
    assert torch.equal(first, extract_features(model, valid, batch_size=16, device=CPU))
    assert torch.equal(torch.get_rng_state(), random)
    assert same_tensors(model.state_dict(), before)
