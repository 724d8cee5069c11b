import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from energytune.config import InputConfig
from energytune.data import dataset_status, get_dataset, load_dataset, mask_census
from energytune.data.mask_census import PairFacts
from energytune.data.mask_files import MaskPair
from energytune.data.voc import CLASS_NAMES, cut_valid_images
from energytune.errors import DataError, MissingDataError
from tests.data.voc_files import make_mask, write_pair, write_voc

CONFIG = InputConfig((3, 32, 48))


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path / "data" / "VOCdevkit" / "VOC2012")
    return tmp_path / "data"


def voc_of(root):
    return root / "VOCdevkit" / "VOC2012"


def lists_of(root, part):
    return voc_of(root) / "ImageSets" / "Segmentation" / f"{part}.txt"


def load(root, config=CONFIG, **kwargs):
    return load_dataset("voc2012", data_root=root, input_config=config, loader_workers=0, **kwargs)


def test_splits(root):
    splits = load(root)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (16, 4, 6)
    assert splits.class_names == CLASS_NAMES
    assert (splits.task.n_outputs, splits.task.metric) == (21, "miou")
    images, masks = next(splits.test.open("test").batches(2))
    assert images.shape == (2, 3, 32, 48)
    assert np.array_equal(masks[1, :30, :40].numpy(), make_mask([0, 2], (40, 30), seed=1))
    assert "mIoU on 4 valid" in splits.protocol
    assert "test is VOC's val, valid a fifth of VOC's train" in splits.protocol


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_above_the_devkit_or_the_devkit_or_voc2012(root, below):
    there, text = dataset_status(get_dataset("voc2012"), root / below)
    assert there
    assert text == f"in {voc_of(root).resolve()}"
    assert load(root / below).fingerprint == load(root).fingerprint


def test_missing_files_say_where_from_and_whereto(tmp_path, root):
    empty = tmp_path / "nothing"
    there, text = dataset_status(get_dataset("voc2012"), empty)
    assert not there
    assert "train.txt" in text
    with pytest.raises(MissingDataError) as caught:
        load(empty)
    message = str(caught.value)
    assert "VOCtrainval_11-May-2012.tar" in message
    assert str(empty / "VOCdevkit" / "VOC2012" / "ImageSets") in message
    assert "--data-root" in message
    lists_of(root, "val").unlink()
    with pytest.raises(MissingDataError, match=r"VOC2012 lacks ImageSets/Segmentation/val.txt"):
        load(root / "VOCdevkit")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2007_train_001", "names '2007_train_001' again"),
        ("2007_train_099", r"JPEGImages.2007_train_099.jpg is missing"),
        ("2007_train_002 1", "must be the id of one image"),
        ("../secret", "must be the id of one image"),
    ],
)
def test_a_bad_line_is_named_with_its_list(root, line, told):
    path = lists_of(root, "train")
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(DataError, match=rf"(?s)Line 22 of {re.escape(str(path))}.*{told}"):
        load(root)


def test_a_missing_mask_is_named(root):
    (voc_of(root) / "SegmentationClass" / "2007_val_003.png").unlink()
    with pytest.raises(DataError, match=r"Line 4 of .*val.txt.*2007_val_003.png is missing"):
        load(root)


def test_an_empty_list_is_an_empty_split(root):
    lists_of(root, "val").write_text("\n")
    with pytest.raises(DataError, match=r"Empty split: .*val.txt"):
        load(root)


def test_no_image_is_trained_and_tested_on(root):
    path = lists_of(root, "val")
    path.write_text(path.read_text() + "2007_train_003\n")
    with pytest.raises(DataError, match=r"1 images are in both .*'2007_train_003'"):
        load(root)


def test_an_unknown_class_is_found_when_the_data_are_loaded(root):
    write_pair(voc_of(root), "2007_val_002", make_mask([0, 30], (40, 30), seed=0))
    with pytest.raises(DataError, match=r"(?s)2007_val_002.png has an unknown class.*is 30"):
        load(root)


def test_image_and_mask_of_two_sizes_are_found_when_the_data_are_loaded(root):
    write_pair(voc_of(root), "other", make_mask([0, 1], (20, 30), seed=0))
    mask = voc_of(root) / "SegmentationClass" / "2007_train_005.png"
    mask.write_bytes((voc_of(root) / "SegmentationClass" / "other.png").read_bytes())
    with pytest.raises(DataError, match=r"2007_train_005.jpg has 40 x 30 .*005.png has 20 x 30"):
        load(root)


def test_a_class_that_only_val_shows_is_named(root):
    write_pair(voc_of(root), "2007_val_002", make_mask([0, 15], (40, 30), seed=0))
    with pytest.raises(DataError, match=r"Classes absent from train.*'person' \(class 15: .* test"):
        load(root)


def test_a_damaged_image_is_named_when_it_is_read(root):
    splits = load(root)
    pair = next(iter(splits.train._pairs))
    pair.image.write_bytes(pair.image.read_bytes()[:400])
    with pytest.raises(DataError) as caught:
        list(splits.train.batches(4))
    assert "Sample 0 of the train split of dataset 'voc2012'" in str(caught.value)
    assert str(pair.image) in str(caught.value)


def test_the_fingerprint_follows_content_and_geometry(root):
    first = load(root)
    other = load(root, InputConfig((3, 40, 48)))
    assert other.fingerprint != first.fingerprint
    assert other.protocol == first.protocol  # the same pixels are scored
    write_pair(voc_of(root), "2007_val_000", make_mask([0, 1], (40, 30), seed=0)[:, ::-1])
    changed = load(root)
    assert changed.protocol != first.protocol
    assert changed.hashes["train"] == first.hashes["train"]


def test_the_protocol_says_when_images_are_made_smaller(root):
    small = load(root, InputConfig((3, 24, 24)))
    assert "made smaller to fit 24 x 24 pixels" in small.protocol
    assert small.protocol != load(root).protocol


def test_files_are_read_once(root, monkeypatch):
    first = load(root)

    def refuse(*args):
        raise AssertionError("read again")

    monkeypatch.setattr(mask_census, "_facts", refuse)
    assert load(root).fingerprint == first.fingerprint
    mask = voc_of(root) / "SegmentationClass" / "2007_train_005.png"
    mask.write_bytes(mask.read_bytes() + b"\n")
    with pytest.raises(AssertionError, match="read again"):
        load(root)


def facts_of(*shown):
    pairs = [MaskPair(f"id{index}", None, None) for index in range(len(shown))]
    pixels = [tuple(int(label in classes) for label in range(4)) for classes in shown]
    return pairs, {p.key: PairFacts("", (1, 1), n) for p, n in zip(pairs, pixels, strict=True)}


def test_the_cut_depends_on_ids_and_keeps_the_last_image_of_a_class():
    pairs, facts = facts_of(*[{0, 1}] * 18, {0, 2}, {0, 3})
    train, valid = cut_valid_images(pairs, facts)
    assert (len(train), len(valid)) == (16, 4)
    assert {"id18", "id19"} <= {pair.key for pair in train}
    assert [pair.key for pair in train] == sorted((p.key for p in train), key=lambda k: int(k[2:]))
    again = cut_valid_images(pairs[::-1], facts)
    assert {p.key for p in again[1]} == {p.key for p in valid}


def test_the_cut_never_takes_the_last_image_even_if_too_few_are_left_over():
    pairs, facts = facts_of({0, 1}, {0, 2}, {0, 3}, {1, 2})
    train, valid = cut_valid_images(pairs, facts, fraction=0.75)
    shown = torch.tensor([facts[pair.key].pixels for pair in train]).sum(dim=0)
    assert bool((shown > 0).all())
    assert len(valid) < 3


@pytest.mark.integration
def test_the_catalogue_knows_voc_without_heavy_libraries():
    code = (
        "import sys; from energytune.data import get_dataset; get_dataset('voc2012');"
        "print(sorted({'torch', 'PIL', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"
