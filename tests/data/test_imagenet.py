import shutil

import pytest

from energytune.errors import DataError, MissingDataError
from tests.data.image_files import Watch, load, rows, save_image, sizes, write_imagenet


@pytest.mark.parametrize("kaggle", [False, True])
def test_official_valid_is_the_test_set(tmp_path, kaggle):
    write_imagenet(tmp_path, kaggle=kaggle)
    watch = Watch()
    splits = load("imagenet", tmp_path, progress=watch)
    assert sizes(splits) == (87, 3, 6)  # 4 % of 30 is 1
    assert splits.class_names == ("n01440764", "n02102040", "n03888257")
    assert splits.test.open("test").targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert not rows(splits.train) & rows(splits.valid)
    assert "3 class folders in place of 1,000" in watch.notes[0]


def test_both_layouts_give_the_same_images_in_the_same_order(tmp_path):
    write_imagenet(tmp_path / "a")
    write_imagenet(tmp_path / "b", kaggle=True)
    plain, kaggle = (load("imagenet", tmp_path / root) for root in "ab")
    assert plain.hashes["train"] == kaggle.hashes["train"]
    assert rows(plain.test.open("test")) == rows(kaggle.test.open("test"))


def test_hashes_follow_paths_and_sizes(tmp_path):
    folder = write_imagenet(tmp_path / "a")
    first = load("imagenet", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load("imagenet", tmp_path / "b").hashes == first.hashes
    save_image(folder / "val" / "n02102040" / "ILSVRC2012_val_00000002.JPEG", size=40)
    assert load("imagenet", tmp_path / "a").hashes["test"] != first.hashes["test"]


def test_a_class_that_train_lacks_is_told(tmp_path):
    folder = write_imagenet(tmp_path)
    save_image(folder / "val" / "n01440765" / "x.JPEG")
    told = r"val has the class 'n01440765'.*Did you mean 'n01440764'"
    with pytest.raises(DataError, match=told):
        load("imagenet", tmp_path)


def test_kaggles_list_must_be_there_and_whole(tmp_path):
    folder = write_imagenet(tmp_path, kaggle=True)
    solution = folder / "LOC_val_solution.csv"
    lines = solution.read_text().splitlines()
    solution.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"val_00000006.JPEG is not in .*LOC_val_solution.csv"):
        load("imagenet", tmp_path)
    solution.write_text("\n".join([*lines, "x"]))
    with pytest.raises(DataError, match=r"Line 8 of .*LOC_val_solution.csv must be an image"):
        load("imagenet", tmp_path)
    solution.unlink()
    with pytest.raises(MissingDataError, match=r"lacks LOC_val_solution.csv"):
        load("imagenet", tmp_path)


def test_cannot_be_downloaded(tmp_path):
    with pytest.raises(MissingDataError, match=r"lacks train, val\. It can't be downloaded"):
        load("imagenet", tmp_path, download=True)
