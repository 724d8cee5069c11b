import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from energytune.data import dataset_status, folders, get_dataset
from energytune.errors import ConfigError, DataError, MissingDataError
from tests.data.image_files import Watch, load, rows, save_image, sizes, write_folder


def test_splits_as_given(tmp_path):
    folder = write_folder(tmp_path / "my pets")
    splits = load(f"folder:{folder}")
    assert sizes(splits) == (15, 6, 6)
    assert splits.class_names == ("cat", "dog", "eel")
    assert torch.bincount(splits.train.targets).tolist() == [5, 5, 5]
    assert splits.name == "my-pets"
    assert splits.protocol.startswith("my-pets: accuracy on 6 valid")
    assert get_dataset(f"folder:{folder}").name == f"folder:{folder}"
    assert dataset_status(get_dataset(f"folder:{folder}")) == (True, f"in {folder}")


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_names_of_the_folder_for_validation(tmp_path, name):
    write_folder(tmp_path, {"train": 5, name: 3, "test": 2})
    assert sizes(load(f"folder:{tmp_path}")) == (15, 9, 6)


def test_several_folders_for_validation_are_refused(tmp_path):
    write_folder(tmp_path, {"train": 5, "val": 3, "valid": 3, "test": 2})
    with pytest.raises(DataError, match=r"several folders for validation: .*/valid, .*/val\."):
        load(f"folder:{tmp_path}")


def test_without_validation_a_fifth_of_train_is_cut_and_stays(tmp_path):
    write_folder(tmp_path, {"train": 10, "test": 2})
    before = load(f"folder:{tmp_path}")
    assert sizes(before) == (24, 6, 6)
    assert not rows(before.train) & rows(before.valid)
    save_image(tmp_path / "train" / "cat" / "another.png", 77)
    after = load(f"folder:{tmp_path}")
    assert len(rows(before.valid) & rows(after.valid)) >= 5
    assert after.hashes["test"] == before.hashes["test"]


def test_relative_paths_and_the_home_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("folder:pets").name == load("folder:~/pets").name == "pets"


def test_hashes_follow_content_only(tmp_path):
    write_folder(tmp_path / "a")
    first = load(f"folder:{tmp_path / 'a'}")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    image = tmp_path / "a" / "test" / "dog" / "1.png"
    os.utime(image, (1, 1))
    assert load(f"folder:{tmp_path / 'a'}").fingerprint == first.fingerprint
    assert load(f"folder:{tmp_path / 'b'}").hashes == first.hashes
    save_image(image, 999)
    changed = load(f"folder:{tmp_path / 'a'}")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


def test_the_first_start_reads_every_image_and_later_ones_none(tmp_path, monkeypatch):
    write_folder(tmp_path)
    watch = Watch()
    load(f"folder:{tmp_path}", progress=watch)
    assert watch.stages == [(f"reading {tmp_path.name}", 27)]
    save_image(tmp_path / "train" / "cat" / "new.png")
    again = Watch()
    load(f"folder:{tmp_path}", progress=again)
    assert again.stages == [(f"reading {tmp_path.name}", 1)]


def test_a_folder_without_splits_is_refused(tmp_path):
    write_folder(tmp_path, {"images": 3, "test": 2})
    with pytest.raises(DataError) as caught:
        load(f"folder:{tmp_path}")
    told = str(caught.value)
    assert "train/ is missing or empty; it holds 'images', 'test'" in told
    assert "never guessed" in told


def test_a_folder_without_test_is_refused(tmp_path):
    write_folder(tmp_path, {"train": 3, "valid": 2})
    with pytest.raises(DataError, match=r"test/ is missing or empty; it holds 'train', 'valid'"):
        load(f"folder:{tmp_path}")


def test_a_folder_that_is_not_there(tmp_path):
    name = f"folder:{tmp_path / 'nowhere'}"
    with pytest.raises(MissingDataError, match=rf"there is no folder {tmp_path}/nowhere"):
        load(name)
    there, told = dataset_status(get_dataset(name))
    assert not there
    assert "missing: train, test" in told


def test_a_class_that_train_lacks_is_told_with_near_names(tmp_path):
    write_folder(tmp_path)
    save_image(tmp_path / "test" / "dogs" / "0.png")
    with pytest.raises(DataError, match=r"test has the class 'dogs'.*Did you mean 'dog'\?"):
        load(f"folder:{tmp_path}")


def test_a_class_that_test_lacks_is_no_harm(tmp_path):
    write_folder(tmp_path)
    shutil.rmtree(tmp_path / "test" / "eel")
    assert sizes(load(f"folder:{tmp_path}")) == (15, 6, 4)


def test_a_class_without_images_is_told(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "fox").mkdir()
    with pytest.raises(DataError, match=r"train/ has no readable image of 'fox'"):
        load(f"folder:{tmp_path}")


def test_one_class_is_told(tmp_path):
    for part in ("train", "valid", "test"):
        save_image(tmp_path / part / "cat" / "0.png")
    with pytest.raises(DataError, match="One class only"):
        load(f"folder:{tmp_path}")


def test_an_empty_split_is_told(tmp_path):
    write_folder(tmp_path, {"train": 3, "test": 2})
    (tmp_path / "valid" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"Empty split: .*/valid"):
        load(f"folder:{tmp_path}")


def test_other_files_are_told_and_hidden_ones_passed_over(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "train" / "list.csv").write_text("x")
    for hidden in (".DS_Store", ".cache/x.png"):
        path = tmp_path / "train" / hidden
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    save_image(tmp_path / "train" / "cat" / "more" / "deep.png", 5)
    watch = Watch()
    splits = load(f"folder:{tmp_path}", progress=watch)
    assert len(splits.train) == 16
    [note] = watch.notes
    assert "2 files of" in note
    assert "'train/cat/notes.txt', 'train/list.csv'" in note


def break_images(folder):
    """Breaks four images, each in another way."""
    cut = folder / "train" / "cat" / "1.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    (folder / "train" / "dog" / "2.png").write_bytes(b"<html>")
    wide = np.full((9, 9), 40_000, dtype=np.uint16)
    Image.fromarray(wide).save(folder / "valid" / "eel" / "0.png")
    gone = folder / "test" / "dog" / "0.png"
    gone.unlink()
    gone.symlink_to("nowhere")


def test_unreadable_images_are_listed_and_counted(tmp_path):
    write_folder(tmp_path)
    break_images(tmp_path)
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(DataError) as caught:
            load(f"folder:{tmp_path}")
        told = str(caught.value)
        assert "4 of 27 images of" in told
        assert "train/cat/1.png (OSError: " in told
        assert "train/dog/2.png (it is no image)" in told
        assert "valid/eel/0.png (its pixels have more than 8 bits" in told
        assert "test/dog/0.png (No such file or directory)" in told
        assert f"--dataset 'folder:{tmp_path}?skip-unreadable'" in told


def test_unreadable_images_are_skipped_when_asked_for(tmp_path):
    write_folder(tmp_path)
    break_images(tmp_path)
    watch = Watch()
    splits = load(f"folder:{tmp_path}?skip-unreadable", progress=watch)
    assert sizes(splits) == (13, 5, 5)
    assert len(rows(splits.train)) == 13
    assert splits.name == tmp_path.name.strip("_")
    assert "4 of 27 images" in watch.notes[0]
    assert "are left out: " in watch.notes[0]


def test_a_repaired_image_is_read_again(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "1.png"
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="1 of 27"):
        load(f"folder:{tmp_path}")
    save_image(path, 1)
    assert sizes(load(f"folder:{tmp_path}")) == (15, 6, 6)


def test_a_picture_that_would_unfold_too_far_is_named(tmp_path, monkeypatch):
    write_folder(tmp_path)
    save_image(tmp_path / "train" / "cat" / "bomb.png", size=40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(DataError, match=r"train/cat/bomb.png \(DecompressionBombError: "):
        load(f"folder:{tmp_path}")


def test_copies_in_two_splits_are_told(tmp_path):
    write_folder(tmp_path)
    shutil.copy(tmp_path / "train" / "cat" / "0.png", tmp_path / "test" / "cat" / "x.png")
    watch = Watch()
    load(f"folder:{tmp_path}", progress=watch)
    assert watch.notes == ["1 image lies in test and train alike: scores on it are too good"]


def test_large_folders_are_not_read_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "READ_BYTES", 1000)
    write_folder(tmp_path / "a")
    watch = Watch()
    first = load(f"folder:{tmp_path / 'a'}", progress=watch)
    assert watch.stages == []
    assert "addressed by path and size" in watch.notes[0]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load(f"folder:{tmp_path / 'b'}").hashes == first.hashes
    path = tmp_path / "a" / "train" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:-60])
    broken = load(f"folder:{tmp_path / 'a'}")
    assert broken.hashes["train"] != first.hashes["train"]
    told = rf"Sample 8 of the train split of dataset 'folder:.*' \({path}\) can't be read"
    with pytest.raises(DataError, match=told):
        rows(broken.train)


def test_unknown_options_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown option 'skip'. Known: skip-unreadable"):
        load(f"folder:{tmp_path}?skip")
