import os
import pickle
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from energytune.data import cifar
from energytune.errors import DataError, MissingDataError
from tests.data.image_files import (
    load,
    md5,
    patch_cifar,
    pixels,
    rows,
    sizes,
    write_cifar,
)


def test_cifar10(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch)
    splits = load("cifar10", tmp_path)
    assert sizes(splits) == (80, 20, 20)
    assert torch.bincount(splits.train.targets).tolist() == [8] * 10
    assert splits.class_names[3] == "class 3"
    assert not rows(splits.train) & rows(splits.valid)


def test_cifar100_takes_fine_labels(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch, n_classes=100, per_class=5)
    splits = load("cifar100", tmp_path)
    assert sizes(splits) == (400, 100, 200)
    assert splits.task.n_classes == 100
    assert splits.train.targets.unique().tolist() == list(range(100))


def test_pixels_are_red_then_green_then_blue(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, monkeypatch)
    source = cifar._read_part(folder, cifar.VERSIONS["cifar10"], "test")
    written = pixels(10, 20, 3072)[7].reshape(3, 32, 32)
    assert np.array_equal(source[7][0], written.transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_tables_are_those_that_torchvision_knows(name):
    import torchvision.datasets

    theirs, ours = getattr(torchvision.datasets, name), cifar.VERSIONS[name.lower()]
    assert ours.url == theirs.url
    assert (ours.train, ours.test) == (dict(theirs.train_list), dict(theirs.test_list))
    assert ours.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
    assert ours.names_key == theirs.meta["key"]


class Evil:
    """Unpickling it would make a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_strange_pickle_is_never_opened(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, monkeypatch)
    load("cifar10", tmp_path)
    path = folder / "data_batch_2"
    stat = path.stat()
    # As long and as old as the one that was accepted a moment ago.
    path.write_bytes(pickle.dumps(Evil(tmp_path / "hit")).ljust(stat.st_size, b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match=r"data_batch_2 is not the genuine file.*Delete it"):
        load("cifar10", tmp_path)
    assert not (tmp_path / "hit").exists()


def test_hashes_follow_content_only(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path / "a", monkeypatch)
    first = load("cifar10", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(folder / "test_batch", (1, 1))
    assert load("cifar10", tmp_path / "a").hashes == first.hashes
    assert load("cifar10", tmp_path / "b").hashes == first.hashes
    content = pickle.loads((folder / "test_batch").read_bytes())
    content["data"][0, 0] ^= 1
    (folder / "test_batch").write_bytes(pickle.dumps(content))
    patch_cifar(monkeypatch, "cifar10", test={"test_batch": md5(folder / "test_batch")})
    changed = load("cifar10", tmp_path / "a")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["valid"] == first.hashes["valid"]


def test_ragged_labels_are_told(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, monkeypatch)
    content = pickle.loads((folder / "test_batch").read_bytes())
    content["labels"].pop()
    (folder / "test_batch").write_bytes(pickle.dumps(content))
    patch_cifar(monkeypatch, "cifar10", test={"test_batch": md5(folder / "test_batch")})
    with pytest.raises(DataError, match=r"test_batch holds 20 images but 19 labels"):
        load("cifar10", tmp_path)


def test_missing_files_say_where_from_and_where_to(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, monkeypatch)
    (folder / "data_batch_3").unlink()
    with pytest.raises(MissingDataError, match=rf"lacks data_batch_3\..*{folder}/data_batch_3"):
        load("cifar10", tmp_path)
    with pytest.raises(MissingDataError, match=r"Fetch https://www.cs.toronto.edu/~kriz/cifar-100"):
        load("cifar100", tmp_path)


def test_is_downloaded_when_missing(serve, tmp_path, monkeypatch):
    folder = write_cifar(tmp_path / "source", monkeypatch)
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name)
    url = serve({"cifar.tar.gz": archive.read_bytes()}) + "cifar.tar.gz"
    version = replace(cifar.VERSIONS["cifar10"], url=url)
    monkeypatch.setitem(cifar.VERSIONS, "cifar10", version)
    splits = load("cifar10", tmp_path / "fresh", download=True)
    assert splits.hashes == load("cifar10", tmp_path / "source").hashes
