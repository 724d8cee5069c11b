"""Two nodes with caches of their own and one storage: what one makes, the other takes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from energytune.paths import cache_dir
from energytune.storage import SharedStorage
from energytune.training import ProbeSnapshot
from energytune.training.feature_store import FeatureStore
from energytune.training.pretrain import pretrain_embedded
from energytune.training.sharing import NOT_SHARED, Sharing
from energytune.training.snapshots import SnapshotStore
from tests.training.entry_writer import Writer, values_of

KEY = "k" * 32
STATE = {"head.weight": torch.tensor([[1.0, -2.5]])}
RECORD = ProbeSnapshot(4, 0.5, 1.25, 0.4, 1.5, 0.3, 1.0, 0.7)


@pytest.fixture(params=["folder", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SharedStorage:
    """A mounted folder has leases, a store behind a URL has none."""
    if request.param == "folder":
        return SharedStorage(str(tmp_path / "shared"))
    return SharedStorage(f"memory://{tmp_path.name}/shared")


@pytest.fixture
def broken(tmp_path: Path) -> SharedStorage:
    """A storage that can't be written nor read: a file is in its place."""
    (tmp_path / "no-folder").write_text("")
    return SharedStorage(str(tmp_path / "no-folder" / "shared"))


def get(store: FeatureStore, writer: Writer) -> np.ndarray:
    return values_of(store.get(KEY, 1, 6, n_bytes=60, parts={"split": "train"}, write=writer))


def test_features_are_built_by_one_node_and_taken_by_the_next(
    storage: SharedStorage, tmp_path: Path
) -> None:
    first, second = Writer(), Writer()
    built = get(FeatureStore(tmp_path / "a", shared=storage), first)
    taken = get(FeatureStore(tmp_path / "b", shared=storage), second)
    assert np.array_equal(built, taken)
    assert (first.n_calls, second.n_calls) == (1, 0)
    names = [f"features/{KEY}/features.npy", f"features/{KEY}/meta.json"]
    assert [n for n in storage.names() if not n.endswith(".lease")] == names
    assert [path.name for path in (tmp_path / "b").iterdir()] == [KEY]
    for name in names:
        storage.delete(name)
    assert np.array_equal(get(FeatureStore(tmp_path / "b", shared=storage), second), built)
    assert second.n_calls == 0


def test_what_is_older_than_the_storage_is_offered(storage: SharedStorage, tmp_path: Path) -> None:
    writer = Writer()
    built = get(FeatureStore(tmp_path / "a"), writer)
    assert storage.names() == []
    assert FeatureStore(tmp_path / "a", shared=storage).find(KEY, 1, 6) is not None
    assert np.array_equal(get(FeatureStore(tmp_path / "b", shared=storage), writer), built)
    assert writer.n_calls == 1
    own = pretrain_embedded("digits", "digits-mlp", cache_dir(), sharing=Sharing(storage))
    assert storage.get_bytes(f"backbones/{own.name}") == own.read_bytes()


@pytest.mark.parametrize("name", ["features.npy", "meta.json"])
def test_damaged_shared_features_are_built_again_and_shared_again(
    storage: SharedStorage, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    get(FeatureStore(tmp_path / "a", shared=storage), Writer())
    whole = storage.get_bytes(f"features/{KEY}/{name}")
    assert whole is not None
    storage.put_bytes(f"features/{KEY}/{name}", whole[:-1] + b"x")
    second, third = Writer(), Writer()
    with caplog.at_level(logging.WARNING, "energytune"):
        assert np.array_equal(
            get(FeatureStore(tmp_path / "b", shared=storage), second), second.values
        )
    assert "are built again" in caplog.text
    assert second.n_calls == 1
    get(FeatureStore(tmp_path / "c", shared=storage), third)
    assert third.n_calls == 0


def test_a_storage_that_fails_costs_work_and_nothing_else(
    broken: SharedStorage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer()
    with caplog.at_level(logging.WARNING, "energytune"):
        assert np.array_equal(
            get(FeatureStore(tmp_path / "a", shared=broken), writer), writer.values
        )
        store = SnapshotStore(tmp_path / "t", Sharing(broken))
        store.save("t", RECORD, STATE)
        assert store.load_record("t", 4) == RECORD
        assert store.load_record("t", 8) is None
    assert "are built without a lease" in caplog.text
    assert f"features/{KEY}/features.npy is not shared, other nodes make their own" in caplog.text
    assert "trajectories/t/e0000004.safetensors is not shared" in caplog.text


def test_snapshots_of_one_node_are_found_by_the_next(
    storage: SharedStorage, tmp_path: Path, same_tensors
) -> None:
    first, second = (SnapshotStore(tmp_path / node, Sharing(storage)) for node in "ab")
    assert second.load_record("t", 4) is None
    first.save("t", RECORD, STATE)
    assert second.load_record("t", 4) == RECORD
    assert same_tensors(second.load_state("t", 4), STATE)
    assert second.load_record("t", 8) is None
    assert second.load_record("", 4) is None


def test_the_embedded_backbone_is_pretrained_by_one_node(
    storage: SharedStorage, tmp_path: Path
) -> None:
    own = pretrain_embedded("digits", "digits-mlp", cache_dir())
    storage.put(f"backbones/{own.name}", own)

    class NoWork:
        def stage(self, name: str, total: int | None) -> None:
            raise AssertionError(name)

    there = pretrain_embedded(
        "digits", "digits-mlp", tmp_path / "b", NoWork(), sharing=Sharing(storage)
    )
    assert there == tmp_path / "b" / "backbones" / own.name
    assert there.read_bytes() == own.read_bytes()


def test_without_a_storage_nothing_is_shared(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    NOT_SHARED.put("a", tmp_path / "a")
    assert NOT_SHARED.fetch("a", tmp_path / "b") is False
