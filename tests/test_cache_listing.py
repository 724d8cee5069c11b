from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from energytune.cache_listing import CACHE_KINDS, clear_cache, list_cache
from energytune.errors import OutputError
from energytune.training.feature_store import FeatureStore
from tests.training.entry_writer import Writer

KEY = "k" * 32
PARTS = {
    "dataset": "digits",
    "backbone": "digits-mlp",
    "reinit_depth": 1,
    "split": "train",
    "n_views": 1,
}
NOW = 2_000_000_000.0


def put(path: Path, content: int | bytes, used_at: float = NOW - 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * content if isinstance(content, int) else content)
    os.utime(path, (used_at, used_at))
    os.utime(path.parent, (used_at, used_at))


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "cache"
    build(root, PARTS)
    put(root / "trajectories" / "t" / "e0000000.safetensors", 10)
    put(root / "trajectories" / "t" / "e0000128.safetensors", 20)
    note = {"backbone": "resnet50", "head_arch": "mlp", "largest": 128}
    text = json.dumps({"n_samples": 32, "shape": note}).encode()
    put(root / "micro-batches" / "n.json", text)
    put(root / "backbones" / "digits-mlp-abc.safetensors", 30)
    put(root / "data" / "checked" / "note.json", 40)
    put(root / "mlflow" / "store-3.db", 50)
    put(root / "mlflow" / ".lock", 0)
    put(root / "ours" / "no kind of ours", 60)
    return root


def build(root: Path, parts: dict, key: str = KEY) -> None:
    store = FeatureStore(root / "features")
    stored = store.get(key, 1, 6, n_bytes=60, parts=parts, write=Writer())
    for path in (stored.path, stored.path.parent / "meta.json", stored.path.parent):
        os.utime(path, (NOW - 10, NOW - 10))


def test_each_kind_is_listed_with_what_it_is(root) -> None:
    items = list_cache(root)
    assert [(item.kind, item.what) for item in items] == [
        ("features", "digits / digits-mlp / depth 1 / train (6, 5)"),
        ("trajectories", "2 snapshots up to epoch 128"),
        ("micro-batches", "32 of 128 for resnet50 / mlp"),
        ("backbones", "digits-mlp-abc.safetensors"),
        ("data", "checked"),
        ("mlflow", "store-3.db"),
    ]
    assert [item.n_bytes for item in items[1:]] == [30, 88, 30, 40, 50]
    files = list((root / "features" / KEY).iterdir())
    assert items[0].n_bytes == sum(file.stat().st_size for file in files)
    assert all(item.used_at == pytest.approx(NOW - 10) for item in items)
    assert not any(item.building for item in items)
    assert items[0].to_dict()["path"] == str(root / "features" / KEY)


def test_views_are_named(root) -> None:
    build(root, PARTS | {"n_views": 4}, "v" * 32)
    assert "digits / digits-mlp / depth 1 / train (6, 5), 4 views" in [
        item.what for item in list_cache(root, ["features"])
    ]


def test_a_cache_that_is_not_there(tmp_path) -> None:
    assert list_cache(tmp_path / "none") == []
    assert clear_cache(tmp_path / "none").removed == ()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["old.npy", "o" * 32])
def test_features_of_another_version_are_listed_and_removed(root, name) -> None:
    put(root / "features" / name / "x" if "." not in name else root / "features" / name, 70)
    (item,) = [item for item in list_cache(root, ["features"]) if item.path.name == name]
    assert (item.what, item.n_bytes) == ("of another version, or damaged", 70)
    clear_cache(root, ["features"])
    assert list((root / "features").iterdir()) == []


def test_what_a_killed_builder_left_is_listed_and_removed(root) -> None:
    left = root / "features" / f"{KEY}.0123456789ab.building"
    put(left / "features.npy", 80)
    (item,) = [item for item in list_cache(root) if item.path == left]
    assert (item.what, item.n_bytes) == ("an unfinished build", 80)
    cleared = clear_cache(root, ["features"])
    assert len(cleared.removed) == 2
    assert cleared.n_bytes > 80
    assert list((root / "features").iterdir()) == []


def test_clearing_removes_all_that_is_ours(root) -> None:
    items = list_cache(root)
    cleared = clear_cache(root)
    assert cleared.removed == tuple(items)
    assert cleared.n_bytes == sum(item.n_bytes for item in items)
    assert list_cache(root) == []
    assert (root / "ours" / "no kind of ours").exists()


@pytest.mark.parametrize("kind", CACHE_KINDS)
def test_one_kind_alone(root, kind) -> None:
    before = {item.kind for item in list_cache(root)}
    cleared = clear_cache(root, [kind])
    assert [item.kind for item in cleared.removed] == [kind]
    assert {item.kind for item in list_cache(root)} == before - {kind}


def test_only_what_was_not_used_for_so_long(root) -> None:
    put(root / "backbones" / "old.safetensors", 90, used_at=NOW - 100)
    put(root / "backbones" / "digits-mlp-abc.safetensors", 30)
    cleared = clear_cache(root, unused_for_s=50, now=NOW)
    assert [item.path.name for item in cleared.removed] == ["old.safetensors"]
    assert len(clear_cache(root, unused_for_s=10, now=NOW).removed) == 6


def test_what_is_being_built_is_left_and_said(root) -> None:
    told: list = []

    def write(folder):
        told.extend(list_cache(root, ["features"]))
        told.append(clear_cache(root, ["features"]))
        return Writer()(folder)

    FeatureStore(root / "features").get("b" * 32, 1, 6, n_bytes=60, parts=PARTS, write=write)
    *items, cleared = told
    assert {item.path.name.partition(".")[0]: item.building for item in items} == {
        KEY: False,
        "b" * 32: True,
    }
    assert [item.path.name for item in cleared.removed] == [KEY]
    assert [item.path.name.partition(".")[0] for item in cleared.building] == ["b" * 32]
    assert [path.name for path in (root / "features").iterdir()] == ["b" * 32]


def test_what_cannot_be_removed(root, monkeypatch) -> None:
    def refuses(_path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(OutputError, match="can't be removed: Permission denied"):
        clear_cache(root, ["backbones"])
