from __future__ import annotations

import errno

import pytest
import torch

from energytune.errors import OutputError
from energytune.training import ProbeSnapshot
from energytune.training.snapshots import SnapshotStore

STATE = {"head.weight": torch.tensor([[1.0, -2.5e-41]]), "n": torch.tensor(3)}


def _record(epoch: int = 4, aie: float = 0.1 + 0.2) -> ProbeSnapshot:
    return ProbeSnapshot(epoch, 0.5, 1.25, 0.4, 1.5, aie, 1e-300, 0.7)


def _path(tmp_path):
    (path,) = (tmp_path / "trajectories").rglob("*.safetensors")
    return path


def test_record_and_state_come_back_bit_for_bit(store, same_tensors) -> None:
    store.save("a", _record(), STATE)
    assert store.load_record("a", 4) == _record()
    assert same_tensors(store.load_state("a", 4), STATE)


def test_what_is_not_there_is_none(store) -> None:
    store.save("a", _record(), STATE)
    for trajectory, epoch in (("a", 5), ("b", 4)):
        assert store.load_record(trajectory, epoch) is None
        assert store.load_state(trajectory, epoch) is None


def test_one_that_is_there_is_left_as_it_is(store, tmp_path) -> None:
    store.save("a", _record(aie=0.1), STATE)
    before = _path(tmp_path).stat()
    store.save("a", _record(aie=0.9), STATE)
    assert store.load_record("a", 4) == _record(aie=0.1)
    assert _path(tmp_path).stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", ["empty", "cut header", "garbage", "no record", "other record"])
def test_a_damaged_one_is_none_and_can_be_written_again(store, tmp_path, damage) -> None:
    from safetensors.torch import save

    store.save("a", _record(), STATE)
    path = _path(tmp_path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut header": content[:20],
            "garbage": b"\xff" * len(content),
            "no record": save(STATE),
            "other record": save(STATE, {"snapshot": '{"epoch": 4}'}),
        }[damage]
    )
    assert store.load_record("a", 4) is None
    store.save("a", _record(), STATE)
    assert path.read_bytes() == content


def test_a_file_that_lost_its_end_is_noticed(store, tmp_path) -> None:
    store.save("a", _record(), STATE)
    path = _path(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    assert store.load_record("a", 4) is None
    assert store.load_state("a", 4) is None


def test_it_is_written_whole_or_not_at_all(store, tmp_path, monkeypatch) -> None:
    def full(_source, _target) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"No space left on device.*ENERGYTUNE_CACHE"):
        store.save("a", _record(), STATE)
    assert not [path for path in (tmp_path / "trajectories").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="can't be written"):
        SnapshotStore(tmp_path / "file").save("a", _record(), STATE)
