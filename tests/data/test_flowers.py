import hashlib
import io
import os
import shutil
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from energytune.data import dataset_status, flowers, get_dataset
from energytune.errors import DataError, MissingDataError
from tests.data.image_files import (
    FLOWER_LABELS,
    FLOWER_SETS,
    accept_flowers,
    load,
    rows,
    sizes,
    write_flowers,
)


def labels_of(part: str) -> list[int]:
    return [FLOWER_LABELS[number - 1] - 1 for number in FLOWER_SETS[part]]


def test_official_splits(tmp_path, monkeypatch):
    write_flowers(tmp_path, monkeypatch)
    splits = load("flowers102", tmp_path)
    assert sizes(splits) == (4, 4, 8)
    assert splits.train.targets.tolist() == labels_of("trnid")
    assert splits.valid.targets.tolist() == labels_of("valid")
    assert splits.test.open("test").targets.tolist() == labels_of("tstid")
    assert splits.task.n_classes == 102
    assert splits.class_names[:2] == ("pink primrose", "hard-leaved pocket orchid")


def test_the_papers_protocol_swaps_the_sets(tmp_path, monkeypatch):
    write_flowers(tmp_path, monkeypatch)
    official, paper = load("flowers102", tmp_path), load("flowers102-paper", tmp_path)
    assert sizes(paper) == (6, 2, 8)
    official_test = rows(official.test.open("test"))
    assert rows(paper.train) | rows(paper.valid) == official_test
    assert not rows(paper.train) & rows(paper.valid)
    assert rows(paper.test.open("test")) == rows(official.train) | rows(official.valid)
    assert paper.protocol.startswith("flowers102-paper: ")
    assert paper.protocol != official.protocol
    told = get_dataset("flowers102-paper").description
    assert "6,149" in told
    assert "2,040" in told


def test_tables_are_those_that_torchvision_knows():
    from torchvision.datasets import Flowers102

    theirs = dict(Flowers102._file_dict[key] for key in ("label", "setid"))
    assert theirs == flowers.MD5S
    assert Flowers102._download_url_prefix == flowers.URL


def test_hashes_follow_content_only(tmp_path, monkeypatch):
    folder = write_flowers(tmp_path / "a", monkeypatch)
    first = load("flowers102", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(folder / "jpg" / "image_00002.jpg", (1, 1))
    assert load("flowers102", tmp_path / "a").hashes == first.hashes
    assert load("flowers102", tmp_path / "b").hashes == first.hashes
    shutil.copy(folder / "jpg" / "image_00003.jpg", folder / "jpg" / "image_00002.jpg")
    changed = load("flowers102", tmp_path / "a")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


def test_unreadable_image_is_named_by_file_and_sample(tmp_path, monkeypatch):
    folder = write_flowers(tmp_path, monkeypatch)
    path = folder / "jpg" / "image_00012.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    splits = load("flowers102", tmp_path)
    told = rf"Sample 2 of the train split of dataset 'flowers102' \({path}\) can't be read: OSError"
    with pytest.raises(DataError, match=told):
        rows(splits.train)


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_damaged_lists_are_told(tmp_path, monkeypatch, name):
    path = write_flowers(tmp_path, monkeypatch) / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=rf"{name} is damaged: its md5 must be"):
        load("flowers102", tmp_path)


def test_lists_that_do_not_belong_together_are_told(tmp_path, monkeypatch):
    folder = write_flowers(tmp_path, monkeypatch)
    savemat(folder / "setid.mat", {**FLOWER_SETS, "tstid": np.array([[2, 17]])})
    accept_flowers(folder, monkeypatch)
    with pytest.raises(DataError, match=r"names image 17 in 'tstid'.* the images 1 to 16 only"):
        load("flowers102", tmp_path)
    savemat(folder / "imagelabels.mat", {"marks": [1]})
    accept_flowers(folder, monkeypatch)
    with pytest.raises(DataError, match="must hold the variable 'labels', got marks"):
        load("flowers102", tmp_path)
    (folder / "imagelabels.mat").write_bytes(b"<html>")
    accept_flowers(folder, monkeypatch)
    with pytest.raises(DataError, match=r"imagelabels.mat can't be read as a \.mat file"):
        load("flowers102", tmp_path)


def test_missing_images_are_counted(tmp_path, monkeypatch):
    folder = write_flowers(tmp_path, monkeypatch)
    for number in (3, 4):
        (folder / "jpg" / f"image_{number:05d}.jpg").unlink()
    there, told = dataset_status(get_dataset("flowers102"), tmp_path)
    assert not there
    assert "jpg (2 of 16 images are missing)" in told
    with pytest.raises(MissingDataError, match=r"2 of 16 images.*102flowers\.tgz.*--data-root"):
        load("flowers102", tmp_path)


def test_a_download_fetches_only_what_is_missing(serve, tmp_path, monkeypatch):
    folder = write_flowers(tmp_path / "source", monkeypatch)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder / "jpg", "jpg")
    contents = {path.name: path.read_bytes() for path in folder.glob("*.mat")}
    monkeypatch.setattr(flowers, "URL", serve({"102flowers.tgz": buffer.getvalue(), **contents}))
    kept = tmp_path / "fresh" / "flowers-102" / "jpg" / "image_00001.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    load("flowers102", tmp_path / "fresh", download=True)
    assert kept.read_bytes() == b"kept"
    assert (
        hashlib.md5(b"kept").hexdigest()
        != hashlib.md5((folder / "jpg" / "image_00001.jpg").read_bytes()).hexdigest()
    )
    assert len(list(kept.parent.iterdir())) == 16
