import gzip
import hashlib
import os
import shutil

import numpy as np
import pytest
import torch

from energytune.data import mnist
from energytune.data.missing_files import lacking
from energytune.data.transforms import EvalTransform
from energytune.errors import DataError, MissingDataError
from tests.data.image_files import load, pixels, rows, sizes, write_idx, write_mnist
from tests.data.test_stl10 import SMALL


def test_splits(tmp_path):
    write_mnist(tmp_path)
    splits = load("mnist", tmp_path, input_config=SMALL)
    assert sizes(splits) == (40, 10, 20)
    assert torch.bincount(splits.valid.targets).tolist() == [1] * 10
    assert splits.class_names == tuple("0123456789")
    assert splits.name == "mnist"
    images, targets = next(splits.test.open("test").batches(3))
    assert targets.tolist() == [0, 1, 2]
    assert torch.equal(images[1], EvalTransform(SMALL)(pixels(1001, 28, 28), None))
    assert not rows(splits.train) & rows(splits.valid)


def test_valid_is_stable_when_data_are_added(tmp_path):
    write_mnist(tmp_path / "a", n_train=200)
    write_mnist(tmp_path / "b", n_train=220)
    before, after = (rows(load("mnist", tmp_path / place).valid) for place in "ab")
    assert len(before) == 40
    assert len(before & after) >= 30  # at most one a class makes room for a new one


def test_hashes_follow_content_only(tmp_path):
    folder = write_mnist(tmp_path / "a")
    first = load("mnist", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(folder / "t10k-images-idx3-ubyte", (1, 1))
    for root in "ab":
        assert load("mnist", tmp_path / root).hashes == first.hashes
    path = folder / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    changed = load("mnist", tmp_path / "a")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


def damage(folder, what):
    images = folder / "train-images-idx3-ubyte"
    if what == "cut short":
        images.write_bytes(images.read_bytes()[:-1])
    elif what == "too long":
        images.write_bytes(images.read_bytes() + b"x")
    elif what == "another format":
        images.write_bytes(gzip.compress(b"x" * 100))
    elif what == "header only":
        images.write_bytes(b"\x00\x00\x08")
    elif what == "labels for images":
        shutil.copy(folder / "train-labels-idx1-ubyte", images)
    elif what == "ragged":
        write_idx(folder / "train-labels-idx1-ubyte", np.zeros(49, dtype=np.uint8))
    elif what == "label 10":
        write_idx(folder / "train-labels-idx1-ubyte", np.arange(50, dtype=np.uint8) % 11)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (
            "cut short",
            r"train-images-idx3-ubyte is damaged.*\(50, 28, 28\).*39,216 bytes, got",
        ),
        ("too long", r"must be 39,216 bytes, got 39,217"),
        ("another format", "no idx file of 3 dimensions: .* 00 00 08 03, got 1f 8b"),
        ("header only", "no idx file of 3 dimensions"),
        ("labels for images", "00 00 08 03, got 00 00 08 01"),
        ("ragged", "train-images-idx3-ubyte holds 50 images but 49 labels"),
        ("label 10", r"Labels out of range: labels of the train split of dataset 'mnist'"),
    ],
)
def test_bad_files_are_told(tmp_path, what, told):
    damage(write_mnist(tmp_path), what)
    with pytest.raises(DataError, match=told):
        load("mnist", tmp_path)


def test_missing_files_say_where_from_and_where_to(tmp_path):
    folder = write_mnist(tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingDataError) as caught:
        load("mnist", tmp_path)
    told = str(caught.value)
    assert "lacks t10k-labels-idx1-ubyte" in told
    assert mnist.URL in told
    assert f"so that {folder / 't10k-labels-idx1-ubyte'} exists" in told
    assert "--data-root DIR" in told


def test_files_are_downloaded_unzipped_and_checked(serve, tmp_path, monkeypatch):
    source = write_mnist(tmp_path / "source")
    contents = {f"{p.name}.gz": gzip.compress(p.read_bytes()) for p in source.iterdir()}
    md5s = {name[:-3]: hashlib.md5(raw).hexdigest() for name, raw in contents.items()}
    monkeypatch.setattr(mnist, "URL", serve(contents))
    with pytest.raises(MissingDataError, match=r"broke off: the md5 .* must be f68b3c2dcb"):
        load("mnist", tmp_path / "fresh", download=True)
    assert list((tmp_path / "fresh").rglob("*ubyte*")) == []
    monkeypatch.setattr(mnist, "ARCHIVE_MD5S", md5s)
    there = load("mnist", tmp_path / "fresh", download=True)
    assert there.hashes == load("mnist", tmp_path / "source").hashes


def test_without_a_network_the_first_failure_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:9/")
    with pytest.raises(MissingDataError) as caught:
        load("mnist", tmp_path, download=True)
    assert str(caught.value).count("failed: ") == 1


def test_an_empty_folder_is_not_taken_for_a_file(tmp_path):
    from energytune.data import get_dataset

    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").mkdir(parents=True)
    assert len(lacking(mnist.wanted(get_dataset("mnist"), tmp_path))) == 4
