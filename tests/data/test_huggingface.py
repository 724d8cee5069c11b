import os
import shutil
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from energytune.data import dataset_status, get_dataset, huggingface
from energytune.errors import ConfigError, DataError, MissingDataError
from tests.data.image_files import Watch, load, pixels, rows, save_image, sizes, write_folder

NAMES = ("ant", "bee", "cow")


@pytest.fixture(autouse=True)
def _own_library_cache(tmp_path, monkeypatch):
    """Keeps the library out of the user's cache, and quiet."""
    cache = tmp_path / "hf-cache"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def table(n: int, seed: int, **columns):
    pictures = [Image.fromarray(pixels(1000 * seed + i, 10, 10, 3)) for i in range(n)]
    features = {"picture": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    content = {"picture": pictures, "label": [i % 3 for i in range(n)]}
    for name, (kind, values) in columns.items():
        features[name], content[name] = kind, values
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def saved(folder: Path, **parts) -> str:
    datasets.DatasetDict(parts).save_to_disk(folder)
    return f"hf:{folder}"


def test_a_saved_dataset(tmp_path):
    name = saved(tmp_path / "my pets", train=table(15, 0), validation=table(6, 1), test=table(9, 2))
    splits = load(name)
    assert sizes(splits) == (15, 6, 9)
    assert splits.class_names == NAMES
    assert splits.name == "hf-my-pets"
    assert splits.valid.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert not rows(splits.train) & rows(splits.valid)
    assert dataset_status(get_dataset(name)) == (True, f"in {tmp_path / 'my pets'}")


def write_parquet(folder: Path) -> str:
    folder.mkdir()
    for seed, (part, n) in enumerate({"train": 15, "test": 6}.items()):
        table(n, seed).to_parquet(folder / f"{part}-00000-of-00001.parquet")
    return f"hf:{folder}"


def test_parquet(tmp_path):
    splits = load(write_parquet(tmp_path / "pets"))
    assert sizes(splits) == (12, 3, 6)
    assert splits.class_names == NAMES
    assert not rows(splits.train) & rows(splits.valid)


def test_a_folder_of_images_in_the_librarys_form(tmp_path):
    write_folder(tmp_path / "pets")
    splits = load(f"hf:{tmp_path / 'pets'}")
    assert sizes(splits) == (15, 6, 6)
    assert splits.class_names == ("cat", "dog", "eel")
    assert splits.valid.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_hashes_follow_content_only(tmp_path):
    write_parquet(tmp_path / "a")
    first = load(f"hf:{tmp_path / 'a'}")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "a" / "test-00000-of-00001.parquet", (1, 1))
    for place in "ab":
        assert load(f"hf:{tmp_path / place}").hashes == first.hashes
    table(6, 5).to_parquet(tmp_path / "a" / "test-00000-of-00001.parquet")
    changed = load(f"hf:{tmp_path / 'a'}")
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


def test_images_in_files_of_their_own_are_hashed_by_content(tmp_path):
    write_folder(tmp_path / "pets")
    first = load(f"hf:{tmp_path / 'pets'}")
    path = tmp_path / "pets" / "test" / "dog" / "1.png"
    stat = path.stat()
    save_image(path, 999)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load(f"hf:{tmp_path / 'pets'}").hashes["test"] != first.hashes["test"]


def test_images_are_hashed_once(tmp_path):
    name = saved(tmp_path / "pets", train=table(15, 0), test=table(9, 2))
    watches = [Watch(), Watch()]
    for watch in watches:
        load(name, progress=watch)
    assert [len(watch.stages) for watch in watches] == [2, 0]


def test_valid_is_the_same_in_any_order_of_the_rows(tmp_path):
    train = table(30, 0)
    names = [
        saved(tmp_path / place, train=rows_, test=table(6, 1))
        for place, rows_ in (("a", train), ("b", train.shuffle(seed=3)))
    ]
    first, second = map(load, names)
    assert rows(first.valid) == rows(second.valid)


def test_without_test_official_validation_is_the_test_set(tmp_path):
    splits = load(saved(tmp_path / "pets", train=table(15, 0), validation=table(6, 1)))
    assert sizes(splits) == (12, 3, 6)
    assert "(test is the official validation, valid cut from train)" in splits.protocol


def test_train_alone_is_refused(tmp_path):
    name = saved(tmp_path / "pets", train=table(15, 0))
    with pytest.raises(DataError, match=r"no split 'test'; it has train \(15\).*train_test_split"):
        load(name)
    table(15, 0).save_to_disk(tmp_path / "single")
    with pytest.raises(DataError, match=r"no split 'test'; it has train \(15\)"):
        load(f"hf:{tmp_path / 'single'}")


def test_splits_can_be_named(tmp_path):
    name = saved(tmp_path / "pets", training=table(15, 0), extra=table(6, 1), final=table(9, 2))
    with pytest.raises(DataError, match="has no split 'train'; it has training"):
        load(name)
    assert sizes(load(f"{name}?train=training&valid=extra&test=final")) == (15, 6, 9)
    with pytest.raises(DataError, match=r"no split 'x'; it has training \(15\), extra \(6\)"):
        load(f"{name}?train=training&test=x")
    with pytest.raises(DataError, match=r"uses one split twice: train=training, test=training"):
        load(f"{name}?train=training&test=training")


def many_columns(n, seed):
    coarse = (datasets.ClassLabel(names=["x", "y"]), [i % 2 for i in range(n)])
    return table(
        n,
        seed,
        coarse=coarse,
        mask=(datasets.Image(), [Image.fromarray(pixels(i, 5, 5)) for i in range(n)]),
        text=(datasets.Value("string"), ["a"] * n),
    )


def test_ambiguous_columns_are_listed_and_can_be_named(tmp_path):
    name = saved(tmp_path / "pets", train=many_columns(12, 0), test=many_columns(6, 1))
    with pytest.raises(DataError) as caught:
        load(name)
    told = str(caught.value)
    assert "has several image columns: picture, mask" in told
    assert "label (ClassLabel), coarse (ClassLabel), mask (Image), text (string)" in told
    assert f"'{name}?image=COLUMN'" in told
    with pytest.raises(DataError, match=r"several label columns: label, coarse.*\?label=COLUMN"):
        load(f"{name}?image=picture")
    splits = load(f"{name}?image=picture&label=coarse")
    assert splits.class_names == ("x", "y")
    with pytest.raises(DataError, match="has no column 'z'"):
        load(f"{name}?image=z")
    with pytest.raises(DataError, match=r"can't take the column 'mask' \(Image\) as label"):
        load(f"{name}?image=picture&label=mask")


def plain(n, seed, kind, values):
    return table(n, seed, labels=(datasets.Value(kind), values)).remove_columns("label")


def test_plain_numbers_and_words_are_labels_by_their_name(tmp_path):
    numbers = [plain(n, seed, "int64", [i % 3 for i in range(n)]) for seed, n in enumerate((12, 6))]
    splits = load(saved(tmp_path / "numbers", train=numbers[0], test=numbers[1]))
    assert splits.class_names == ("0", "1", "2")
    words = [
        plain(n, seed, "string", [("b", "a", "c")[i % 3] for i in range(n)])
        for seed, n in enumerate((12, 6))
    ]
    splits = load(saved(tmp_path / "words", train=words[0], test=words[1]))
    assert splits.class_names == ("a", "b", "c")
    assert splits.test.open("test").targets.tolist() == [1, 0, 2, 1, 0, 2]
    strange = plain(6, 1, "string", ["d"] * 6)
    with pytest.raises(DataError, match=r"Classes absent from train: the split 'test'.* has d"):
        load(saved(tmp_path / "strange", train=words[0], test=strange))


def test_labels_that_are_no_classes_are_told(tmp_path):
    ids = plain(12, 0, "int64", [10_000 * i for i in range(12)])
    with pytest.raises(DataError, match=r"values up to 110,000: these are no classes"):
        load(saved(tmp_path / "ids", train=ids, test=ids))
    gaps = plain(6, 0, "int64", [0, 1, None, 1, 0, 1])
    with pytest.raises(DataError, match=r"Sample 2 of the training split.*has no label"):
        load(saved(tmp_path / "gaps", train=gaps, test=gaps))
    none = table(12, 0).remove_columns("label")
    with pytest.raises(DataError, match=r"has no label column.*picture \(Image\)"):
        load(saved(tmp_path / "none", train=none, test=none))


def test_a_test_set_without_labels_is_told(tmp_path):
    hidden = plain(6, 1, "int64", [-1] * 6)
    train = plain(12, 0, "int64", [i % 3 for i in range(12)])
    name = saved(tmp_path / "pets", train=train, validation=train, test=hidden)
    with pytest.raises(DataError, match=r"No labels: the split 'test'.*\?test=NAME"):
        load(name)
    assert sizes(load(f"{name}?test=validation")) == (9, 3, 12)


def test_an_unreadable_image_is_named(tmp_path):
    def broken(cell, index):
        picture = {"bytes": b"<html>", "path": "b.png"} if index == 7 else cell["picture"]
        return {"picture": picture}

    raw = table(15, 0).cast_column("picture", datasets.Image(decode=False))
    bad = raw.map(broken, with_indices=True, features=raw.features)
    bad = bad.cast_column("picture", datasets.Image())
    splits = load(saved(tmp_path / "pets", train=table(15, 3), validation=bad, test=table(6, 1)))
    told = r"Sample 7 of the valid split of dataset 'hf:.*' \(b.png\) can't be read: Unidentified"
    with pytest.raises(DataError, match=told):
        rows(splits.valid)


def test_a_row_without_an_image_is_named(tmp_path):
    features = datasets.Features(
        {"picture": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    )
    gaps = datasets.Dataset.from_dict({"picture": [None] * 3, "label": [0, 1, 2]}, features)
    with pytest.raises(DataError, match=r"Sample 0 of the split 'test'.*has no image"):
        load(saved(tmp_path / "pets", train=table(15, 0), test=gaps))


def test_what_the_library_cannot_read_is_told(tmp_path):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "train.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match=r"can't be read by datasets.load_dataset: "):
        load(f"hf:{tmp_path / 'pets'}")


def test_code_of_a_dataset_is_never_run(tmp_path):
    (tmp_path / "pets").mkdir()
    script = f"import pathlib\npathlib.Path({str(tmp_path / 'hit')!r}).touch()\n"
    (tmp_path / "pets" / "pets.py").write_text(script)
    with pytest.raises(DataError, match="can't be read"):
        load(f"hf:{tmp_path / 'pets'}")
    assert not (tmp_path / "hit").exists()


def test_a_folder_that_is_not_there(tmp_path):
    name = f"hf:{tmp_path / 'nowhere'}"
    with pytest.raises(MissingDataError, match=r"there is no folder .*/nowhere"):
        load(name)
    assert dataset_status(get_dataset(name)) == (False, f"not there: {tmp_path / 'nowhere'}")


def test_without_the_library_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"{sys.executable} -m pip install 'energytune\[hf\]'"):
        load("hf:beans")


def cache_of_the_library(cache: Path, folder: str) -> None:
    """Writes what the library keeps of a dataset of the Hub that it has downloaded."""
    parts = datasets.DatasetDict(train=table(15, 0), test=table(6, 1))
    source = cache.parent / "source"
    source.mkdir()
    for name, part in parts.items():
        part.to_parquet(source / f"{name}-00000-of-00001.parquet")
    datasets.load_dataset(str(source))
    [made] = cache.glob("source/*/*/*/")
    base = folder.rpartition("___")[2]
    for path in made.iterdir():
        if path.name == "dataset_info.json":
            text = path.read_text().replace('"dataset_name": "source"', f'"dataset_name": "{base}"')
            path.write_text(text)
        else:
            path.rename(path.with_name(path.name.replace("source-", f"{base}-")))
    (cache / "source").rename(cache / folder)


@pytest.mark.parametrize(("name", "folder"), [("org/MyPets", "org___my_pets"), ("pets", "pets")])
def test_a_cached_dataset_of_the_hub_needs_no_network(tmp_path, monkeypatch, name, folder):
    cache = tmp_path / "hf-cache"
    cache_of_the_library(cache, folder)
    monkeypatch.setattr(huggingface, "unreachable", lambda url: pytest.fail("asked the Hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    splits = load(f"hf:{name}", download=True)
    assert sizes(splits) == (12, 3, 6)
    assert splits.name == f"hf-{name.replace('/', '-')}"
    there, told = dataset_status(get_dataset(f"hf:{name}"))
    assert there
    assert told == f"in the cache {cache / folder}"
    assert datasets.config.HF_HUB_OFFLINE is False
    assert len(np.unique(splits.test.open("test").targets)) == 3


def test_another_configuration_is_not_taken_for_the_wanted_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    cache_of_the_library(tmp_path / "hf-cache", "pets")
    assert sizes(load("hf:pets?config=default")) == (12, 3, 6)
    with pytest.raises(MissingDataError, match="can't be reached"):
        load("hf:pets?config=large", download=True)


def test_a_dataset_of_the_hub_is_downloaded_when_missing(tmp_path, monkeypatch):
    calls = []

    def download(name, config):
        calls.append((name, config, datasets.config.HF_HUB_OFFLINE))
        if name == "org/none":
            raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/none' doesn't exist")
        if name == "org/many":
            raise ValueError("Config name is missing.\nPlease pick one among: ['a', 'b']")
        return datasets.DatasetDict(train=table(15, 0), test=table(6, 1))

    monkeypatch.setattr(huggingface, "unreachable", lambda url: "")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", download)
    watch = Watch()
    assert sizes(load("hf:org/pets?config=b", download=True, progress=watch)) == (12, 3, 6)
    assert calls == [("org/pets", "b", False), ("org/pets", "b", True)]
    assert watch.stages[0] == ("downloading org/pets", None)
    with pytest.raises(MissingDataError, match="Dataset 'org/none' doesn't exist"):
        load("hf:org/none", download=True)
    with pytest.raises(DataError, match=r"among: \['a', 'b'\] Name one with \?config=NAME"):
        load("hf:org/many", download=True)


def test_without_a_network_a_dataset_of_the_hub_fails_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingDataError) as caught:
        load("hf:org/pets", download=True)
    told = str(caught.value)
    assert "http://127.0.0.1:9 can't be reached: " in told
    assert "datasets.load_dataset('org/pets').save_to_disk(FOLDER)" in told
    with pytest.raises(MissingDataError, match="not to be downloaded"):
        load("hf:org/pets", download=False)
