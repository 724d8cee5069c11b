from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import threading
from collections import namedtuple

import numpy as np
import pytest

from energytune.errors import DataError, OutputError
from energytune.training.feature_entry import FORMAT, DamagedEntry, read_entry
from energytune.training.feature_store import FeatureStore
from tests.training.entry_writer import Writer, values_of

KEY = "k" * 32


@pytest.fixture
def root(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def store(root) -> FeatureStore:
    return FeatureStore(root)


@pytest.fixture
def writer() -> Writer:
    return Writer()


def get(store: FeatureStore, writer, **changes):
    fields = {"n_bytes": 60, "parts": {"split": "train"}, "write": writer} | changes
    return store.get(KEY, 1, 6, **fields)


def test_an_entry_is_built_once_and_found_by_the_next_process(store, writer, root) -> None:
    assert store.find(KEY, 1, 6) is None
    built = get(store, writer)
    assert writer.n_calls == 1
    assert np.array_equal(values_of(built), writer.values)
    assert get(store, writer) == built
    assert FeatureStore(root).find(KEY, 1, 6) == built
    assert writer.n_calls == 1


def test_it_is_alone_in_its_folder_and_says_what_it_is(store, writer, root) -> None:
    get(store, writer)
    assert [path.name for path in root.iterdir()] == [KEY]
    assert sorted(path.name for path in (root / KEY).iterdir()) == ["features.npy", "meta.json"]
    meta = json.loads((root / KEY / "meta.json").read_text())
    size = (root / KEY / "features.npy").stat().st_size
    assert meta["parts"] == {"split": "train"}
    assert (meta["format"], meta["shape"], meta["dtype"]) == (FORMAT, [1, 6, 5], "<f2")
    assert (meta["n_bytes"], store.used_bytes()) == (size, size)
    assert np.array_equal(np.load(root / KEY / "features.npy"), writer.values)


def damage(root, kind: str) -> None:
    path, meta_path = root / KEY / "features.npy", root / KEY / "meta.json"
    content, meta = path.read_bytes(), json.loads(meta_path.read_text())
    other = {
        "rows": np.zeros((1, 5, 5), np.float16),
        "views": np.zeros((2, 6, 5), np.float16),
        "dtype": np.zeros((1, 6, 5), np.int16),
        "flat": np.zeros((30,), np.float16),
        "fortran": np.asfortranarray(np.ones((1, 6, 5), np.float16)),
    }
    if kind in other:
        np.save(path, other[kind])
    elif kind == "pickle":
        np.save(path, np.array([{"code": "evil"}] * 30, dtype=object), allow_pickle=True)
    elif kind == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "garbage":
        path.write_bytes(b"\x00" * len(content))
    elif kind == "cut":
        path.write_bytes(content[:-7])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no array":
        path.unlink()
    elif kind == "no meta":
        meta_path.unlink()
    elif kind == "torn meta":
        meta_path.write_text(meta_path.read_text()[:40])
    elif kind == "foreign meta":
        meta_path.write_text("[1, 2]")
    elif kind == "other version":
        meta_path.write_text(json.dumps(meta | {"format": FORMAT + 1}))
    elif kind == "a file":
        shutil.rmtree(root / KEY)
        (root / KEY).write_text("in the way")
    # A change within one tick of the clock can't be told by time; real ones are not that quick.
    if path.exists():
        os.utime(path, ns=(1, 1))


DAMAGES = ["rows", "views", "dtype", "flat", "fortran", "pickle", "flipped", "garbage", "cut"]
DAMAGES += ["empty", "no array", "no meta", "torn meta", "foreign meta", "other version", "a file"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_or_foreign_entry_is_built_again(store, writer, root, caplog, kind) -> None:
    built = get(store, writer)
    content = built.path.read_bytes()
    damage(root, kind)
    assert store.find(KEY, 1, 6) is None
    with caplog.at_level(logging.WARNING, "energytune"):
        again = get(store, writer)
    assert writer.n_calls == 2
    assert again.path.read_bytes() == content
    assert "are built again" in caplog.text
    assert KEY in caplog.text
    assert [path.name for path in root.iterdir()] == [KEY]


def test_a_copied_entry_is_verified_once_and_kept(store, writer, root) -> None:
    built = get(store, writer)
    os.utime(built.path, ns=(5, 5))
    with pytest.raises(DamagedEntry, match="not yet checked"):
        read_entry(root / KEY, verify=False)
    assert get(store, writer) == built
    assert writer.n_calls == 1
    assert read_entry(root / KEY, verify=False) == built  # its time is recorded now


def test_reading_marks_as_used(store, writer, root) -> None:
    get(store, writer)
    os.utime(root / KEY / "meta.json", (5, 5))
    store.find(KEY, 1, 6)
    assert (root / KEY / "meta.json").stat().st_mtime > 5


def test_an_error_of_the_writer_passes_and_leaves_nothing(store, root) -> None:
    def fails(folder) -> None:
        (folder / "features.npy").write_bytes(b"the first half")
        raise DataError("bad")

    with pytest.raises(DataError, match="bad"):
        get(store, fails)
    assert list(root.iterdir()) == []


def test_a_disk_without_room_is_told_before_writing(store, writer, root, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(100, 90, 10))
    with pytest.raises(OutputError, match=r"need 60 bytes .* 10 free.*ENERGYTUNE_CACHE"):
        get(store, writer)
    assert writer.n_calls == 0
    assert list(root.iterdir()) == []


def test_a_disk_that_fills_while_writing_leaves_nothing(store, root) -> None:
    def full(folder) -> None:
        (folder / "features.npy").write_bytes(b"the first half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left on device. Free some space"):
        get(store, full)
    assert list(root.iterdir()) == []


def test_a_folder_that_cannot_be_written(writer, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="can't be written"):
        get(FeatureStore(tmp_path / "file" / "features"), writer)


def test_leftovers_of_killed_builders_are_swept(store, writer, root) -> None:
    left = root / f"{KEY}.0123456789ab.building"
    left.mkdir(parents=True)
    (left / "features.npy").write_bytes(b"half")
    others = root / ("o" * 32 + ".0123456789ab.building")
    others.mkdir()
    get(store, writer)
    assert sorted(path.name for path in root.iterdir()) == [KEY, others.name]


# two at once


class SlowWriter(Writer):
    """Waits until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, folder):
        self.begun.set()
        self.go_on.wait(240)
        return super().__call__(folder)


def test_the_others_wait_and_read(root, writer) -> None:
    slow, waiting, results = SlowWriter(), threading.Event(), []
    builder = threading.Thread(target=lambda: results.append(get(FeatureStore(root), slow)))
    builder.start()
    slow.begun.wait(240)
    reader = threading.Thread(
        target=lambda: results.append(get(FeatureStore(root), writer, on_wait=waiting.set))
    )
    reader.start()
    assert waiting.wait(240)
    slow.go_on.set()
    builder.join(240)
    reader.join(240)
    assert (slow.n_calls, writer.n_calls) == (1, 0)
    assert results[0] == results[1]


def test_what_is_being_built_is_not_removed(store, writer, root) -> None:
    inside: list[bool] = []

    def write(folder):
        inside.append(FeatureStore(root).remove(KEY))
        return writer(folder)

    get(store, write)
    assert inside == [False]
    assert store.remove(KEY)
    assert list(root.iterdir()) == []
    assert store.remove(KEY)  # also where there is nothing


def test_a_builder_that_lost_its_lease_finishes_without_harm(store, root) -> None:
    first, second = Writer(), Writer()

    def write(folder):
        (root / f"{KEY}.lease").unlink()  # broken wrongly: another process builds at once
        get(FeatureStore(root), second)
        return first(folder)

    built = get(store, write)
    assert (first.n_calls, second.n_calls) == (1, 1)
    assert np.array_equal(values_of(built), second.values)
    assert KEY in [path.name for path in root.iterdir()]
    assert not list(root.glob("*.building"))


@pytest.mark.parametrize("in_the_way", ["whole", "damaged"])
def test_whoever_is_second_throws_its_own_away(root, tmp_path, in_the_way) -> None:
    mine, theirs = Writer(), Writer()
    theirs.values = theirs.values + 1

    def write(folder):
        elsewhere = FeatureStore(tmp_path / "elsewhere")
        shutil.move(get(elsewhere, theirs).path.parent, root / KEY)
        if in_the_way == "damaged":
            damage(root, "garbage")
        return mine(folder)

    built = get(FeatureStore(root), write)
    kept = theirs if in_the_way == "whole" else mine
    assert np.array_equal(values_of(built), kept.values)
    assert [path.name for path in root.iterdir()] == [KEY]


def test_a_silent_builder_is_taken_over_from(root, writer) -> None:
    root.mkdir()
    store = FeatureStore(root, stale_s=0.05)
    # A lease of another host, where the process can't be asked: only its silence tells.
    lease = store._lease(KEY)
    lease.acquire()
    marker = root / f"{KEY}.lease"
    text = marker.read_text()
    lease.release()
    marker.write_text(text.replace(socket.gethostname(), "elsewhere"))
    assert get(store, writer).shape == (1, 6, 5)
    assert writer.n_calls == 1
