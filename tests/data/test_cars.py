import shutil

import pytest
from scipy.io import savemat

from energytune.errors import DataError, MissingDataError
from tests.data.image_files import annotations, load, rows, sizes, write_cars


@pytest.mark.parametrize("labels_in_devkit", [False, True])
def test_splits(tmp_path, labels_in_devkit):
    write_cars(tmp_path, labels_in_devkit=labels_in_devkit)
    splits = load("stanford-cars", tmp_path)
    assert sizes(splits) == (12, 3, 6)
    assert splits.class_names == ("Audi A", "BMW B", "Citroen C")
    assert splits.test.open("test").targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert not rows(splits.train) & rows(splits.valid)


def test_hashes_follow_content_only(tmp_path):
    folder = write_cars(tmp_path / "a")
    first = load("stanford-cars", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load("stanford-cars", tmp_path / "b").hashes == first.hashes
    shutil.copy(folder / "cars_test" / "00001.jpg", folder / "cars_test" / "00002.jpg")
    assert load("stanford-cars", tmp_path / "a").hashes["test"] != first.hashes["test"]


def test_missing_files_say_that_the_address_is_dead(tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load("stanford-cars", tmp_path, download=True)
    told = str(caught.value)
    assert "dead" in told
    assert f"so that {tmp_path / 'stanford_cars' / 'cars_train'} exists" in told
    assert "cars_test_annos_withlabels.mat" in told


def test_a_list_without_labels_is_told(tmp_path):
    folder = write_cars(tmp_path)
    table = folder / "cars_test_annos_withlabels.mat"
    savemat(table, {"annotations": annotations(["00001.jpg", "00002.jpg"], None)})
    with pytest.raises(DataError, match=r"lack class\. The labelled file is called cars_test"):
        load("stanford-cars", tmp_path)


def test_an_image_that_is_gone_is_named(tmp_path):
    folder = write_cars(tmp_path)
    (folder / "cars_train" / "00004.jpg").unlink()
    with pytest.raises(DataError, match=r"cars_train/00004.jpg can't be read: No such file"):
        load("stanford-cars", tmp_path)


def test_a_class_that_has_no_name_is_told(tmp_path):
    folder = write_cars(tmp_path)
    files = [f"{number:05d}.jpg" for number in range(1, 7)]
    savemat(
        folder / "cars_test_annos_withlabels.mat",
        {"annotations": annotations(files, [1, 2, 3, 4, 1, 1])},
    )
    with pytest.raises(DataError, match=r"Labels out of range.*sample 3 has 3"):
        load("stanford-cars", tmp_path)
