import numpy as np
import pytest
import torch

from energytune.config import InputConfig
from energytune.data import file_checks, load_dataset, stl10
from energytune.data import stl10_files as checks
from energytune.data.transforms import EvalTransform
from energytune.errors import DataError, MissingDataError

SMALL = InputConfig(size=(3, 32, 32))


def load(root, **kwargs):
    return load_dataset("stl10", data_root=root, input_config=SMALL, loader_workers=0, **kwargs)


def test_images_and_labels_are_those_that_were_written(stl10_root, stl10_files):
    images, labels = stl10_files.make_images(4, seed=1)
    data = stl10.read_part(stl10_root / "stl10_binary", "test")
    assert len(data) == 40
    for index in (0, 7, 39):
        picture, target = data[index]
        assert np.array_equal(np.array(picture), images[index].transpose(1, 2, 0))
        assert target == labels[index] - 1


def test_splits(stl10_root, stl10_files):
    splits = load(stl10_root)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (80, 20, 40)
    assert torch.bincount(splits.train.targets).tolist() == [8] * 10
    assert torch.bincount(splits.valid.targets).tolist() == [2] * 10
    assert splits.class_names == stl10_files.CLASS_NAMES
    assert splits.task.n_classes == 10
    images, targets = next(splits.test.open("test").batches(8))
    written, labels = stl10_files.make_images(4, seed=1)
    assert targets.tolist() == (labels[:8].astype(int) - 1).tolist()
    expected = EvalTransform(SMALL)(written[0].transpose(1, 2, 0), None)
    assert torch.equal(images[0], expected)


def test_train_and_valid_are_disjoint(stl10_root):
    splits = load(stl10_root)
    rows = [
        {x.numpy().tobytes() for batch, _ in split.batches(16) for x in batch}
        for split in (splits.train, splits.valid)
    ]
    assert [len(r) for r in rows] == [80, 20]
    assert not rows[0] & rows[1]


def test_fingerprint_depends_on_files_and_geometry(stl10_root, stl10_files, monkeypatch):
    first = load(stl10_root)
    assert load(stl10_root).fingerprint == first.fingerprint
    other = load_dataset("stl10", data_root=stl10_root, loader_workers=0)
    assert other.fingerprint != first.fingerprint
    assert other.protocol == first.protocol  # the same images, seen by another backbone
    folder = stl10_files.write_stl10(stl10_root, n_test_per_class=5)
    stl10_files.patch_md5s(folder, monkeypatch)
    changed = load(stl10_root)
    assert changed.protocol != first.protocol
    assert changed.hashes["train"] == first.hashes["train"]


def test_files_are_hashed_once(stl10_root, monkeypatch):
    load(stl10_root)

    def refuse(*args):
        raise AssertionError("hashed again")

    monkeypatch.setattr(file_checks.hashlib, "file_digest", refuse)
    load(stl10_root)
    path = stl10_root / "stl10_binary" / "train_y.bin"
    path.write_bytes(path.read_bytes())  # a new modification time
    with pytest.raises(AssertionError, match="hashed again"):
        load(stl10_root)


def test_damaged_file_is_named(stl10_root):
    path = stl10_root / "stl10_binary" / "test_X.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_X.bin is damaged: its md5 must be .*Delete it"):
        load(stl10_root)


def test_cut_short_file_is_named(stl10_root):
    path = stl10_root / "stl10_binary" / "train_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train_X.bin is cut short.*multiple of 27,648 bytes"):
        load(stl10_root)


def test_labels_must_match_images(stl10_root, stl10_files, monkeypatch):
    folder = stl10_root / "stl10_binary"
    (folder / "train_y.bin").write_bytes(b"\x01" * 99)
    stl10_files.patch_md5s(folder, monkeypatch)
    with pytest.raises(DataError, match=r"train_X.bin holds 100 images but 99 labels"):
        load(stl10_root)


def test_labels_out_of_range_are_told(stl10_root, stl10_files, monkeypatch):
    folder = stl10_root / "stl10_binary"
    (folder / "test_y.bin").write_bytes(b"\x0b" + b"\x01" * 39)
    stl10_files.patch_md5s(folder, monkeypatch)
    with pytest.raises(DataError, match="Labels out of range: labels of the test split"):
        load(stl10_root)


def test_genuine_tables_refuse_hand_made_files(stl10_root, stl10_files, monkeypatch, tmp_path):
    monkeypatch.undo()  # the real md5 table, and a cache that has seen nothing
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="918c2871b30a85fa023e0c44e0bee87f"):
        load(stl10_root)


def test_accepted_files_load_where_tables_are_not_patched(stl10_root, monkeypatch):
    """As in the worker processes of a test that runs the whole search."""
    monkeypatch.setattr(checks, "MD5S", dict.fromkeys(checks.MD5S, "0" * 32))
    assert len(load(stl10_root).train) == 80


def test_md5s_are_those_that_torchvision_knows(monkeypatch):
    from torchvision.datasets import STL10

    assert dict([*STL10.train_list[:2], *STL10.test_list]) == checks.MD5S


def test_missing_files_say_where_to_put_them(tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load(tmp_path, download=False)
    text = str(caught.value)
    assert str(tmp_path / "stl10_binary" / "train_X.bin") in text
    assert "lacks train_X.bin, train_y.bin, test_X.bin, test_y.bin" in text
    assert "--data-root DIR" in text
    assert checks.URL in text
