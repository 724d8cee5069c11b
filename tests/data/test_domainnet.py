import os
import shutil

import pytest

from energytune.data import get_dataset
from energytune.data.domainnet import URL
from energytune.errors import DataError, MissingDataError
from tests.data.image_files import load, rows, save_image, sizes, write_domainnet


@pytest.mark.parametrize("domain", ["real", "sketch", "quickdraw"])
def test_official_lists(tmp_path, domain):
    write_domainnet(tmp_path, domain)
    splits = load(f"domainnet-{domain}", tmp_path)
    assert sizes(splits) == (12, 3, 6)
    assert splits.task.n_classes == 345
    assert splits.class_names[7] == "thing_007"
    assert splits.test.open("test").targets.tolist() == [0, 0, 7, 7, 344, 344]
    assert not rows(splits.train) & rows(splits.valid)


def test_the_papers_number_of_classes(tmp_path):
    write_domainnet(tmp_path, labels=(0, 199, 200, 344))
    splits = load("domainnet-real-paper", tmp_path)
    assert sizes(splits) == (8, 2, 4)
    assert splits.task.n_classes == 200
    assert splits.train.targets.unique().tolist() == [0, 199]
    assert "does not say which" in get_dataset("domainnet-real-paper").description


def test_hashes_follow_paths_sizes_and_classes(tmp_path):
    folder = write_domainnet(tmp_path / "a")
    first = load("domainnet-real", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    image = folder / "real" / "thing_007" / "real_test_000001.jpg"
    os.utime(image, (1, 1))
    assert load("domainnet-real", tmp_path / "a").hashes == first.hashes
    assert load("domainnet-real", tmp_path / "b").hashes == first.hashes
    save_image(image, 5, size=40)
    changed = load("domainnet-real", tmp_path / "a")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


@pytest.mark.parametrize("line", ["real/thing_000/x.jpg", "real/thing_000/x.jpg cat", "7"])
def test_a_bad_line_is_named(tmp_path, line):
    path = write_domainnet(tmp_path) / "real_train.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], line, *lines[3:]]))
    with pytest.raises(DataError, match=rf"Line 4 of {path} must be a path.*got '{line}'"):
        load("domainnet-real", tmp_path)


def test_an_image_that_is_gone_is_named(tmp_path):
    folder = write_domainnet(tmp_path)
    (folder / "real" / "thing_007" / "real_train_000002.jpg").unlink()
    with pytest.raises(DataError, match=r"thing_007/real_train_000002.jpg can't be read.*the list"):
        load("domainnet-real", tmp_path)


def test_missing_files_say_where_from_and_where_to(tmp_path):
    write_domainnet(tmp_path, "sketch")
    with pytest.raises(MissingDataError) as caught:
        load("domainnet-quickdraw", tmp_path, download=True)
    told = str(caught.value)
    assert "lacks quickdraw_train.txt, quickdraw_test.txt, quickdraw" in told
    assert f"{URL}quickdraw.zip" in told
    assert f"{URL}domainnet/txt/quickdraw_train.txt" in told
