import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from energytune.config import InputConfig
from energytune.data.joint_transforms import JointEval, JointTrain
from energytune.data.mask_files import MaskPair, voc_palette
from energytune.data.mask_split import MaskSplit
from energytune.errors import DataError
from tests.data.voc_files import make_mask, write_pair, write_voc

NAMES = ("background", "one", "two", "three")
CONFIG = InputConfig((3, 32, 48), interpolation="bilinear")


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path / "VOC2012", n_train=7)


def make(folder, *, workers=0, config=CONFIG):
    keys = (folder / "ImageSets/Segmentation/train.txt").read_text().split()
    pairs = [
        MaskPair(k, folder / f"JPEGImages/{k}.jpg", folder / f"SegmentationClass/{k}.png")
        for k in keys
    ]
    transforms = JointEval(config), JointTrain(config)
    return MaskSplit(pairs, NAMES, *transforms, workers, name="the train split of dataset 'x'")


def gather(split, **kwargs):
    images, masks = zip(*split.batches(3, **kwargs), strict=True)
    return torch.cat(images), torch.cat(masks)


def test_evaluation_gives_the_targets_in_order(folder):
    split = make(folder)
    images, masks = gather(split)
    assert len(split) == 7
    assert (images.shape, images.dtype) == ((7, 3, 32, 48), torch.float32)
    assert (masks.shape, masks.dtype) == ((7, 32, 48), torch.uint8)
    assert torch.equal(masks, split.targets)
    written = make_mask([0, 3], (40, 30), seed=2)
    assert np.array_equal(masks[2, :30, :40].numpy(), written)
    order = torch.tensor([6, 0, 2])
    some_images, some_masks = gather(split, order=order)
    assert torch.equal(some_images, images[order])
    assert torch.equal(some_masks, masks[order])


def test_masks_show_what_images_show(folder):
    """Images are drawn in the masks' colours: also after augmentation each pixel agrees."""
    palette = torch.from_numpy(voc_palette()).float() / 255
    mean, std = torch.tensor(CONFIG.mean), torch.tensor(CONFIG.std)
    for augment in (False, True):
        images, masks = gather(make(folder), augment=augment, seed=5)
        colours = images.permute(0, 2, 3, 1) * std + mean
        labelled = masks != 255
        off = (colours - palette[masks.long()]).abs().amax(dim=-1)[labelled]
        assert float((off < 0.2).float().mean()) > 0.9  # JPEG and edges blur the rest


def test_augmentation_depends_on_seed_and_index_alone(folder):
    split = make(folder)
    images, masks = gather(split, augment=True, seed=3)
    again = gather(split, augment=True, seed=3)
    assert torch.equal(images, again[0])
    assert torch.equal(masks, again[1])
    assert not torch.equal(masks, split.targets)
    assert not torch.equal(gather(split, augment=True, seed=4)[0], images)
    order = torch.tensor([5, 1])
    assert torch.equal(gather(split, augment=True, seed=3, order=order)[1], masks[order])


@pytest.mark.integration
def test_workers_change_nothing(folder):
    alone, shared = make(folder), make(folder, workers=2)
    for augment in (False, True):
        one, two = (gather(split, augment=augment, seed=1) for split in (alone, shared))
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


def test_a_copy_in_another_process_leaves_the_masks_behind(folder):
    split = make(folder)
    before = len(pickle.dumps(split))
    masks = split.targets
    assert split.targets is masks  # read once
    copied = pickle.dumps(split)
    assert len(copied) < before + 200
    assert torch.equal(pickle.loads(copied).targets, masks)


def breaks(folder, what):
    key = "2007_train_004"
    image, mask = folder / f"JPEGImages/{key}.jpg", folder / f"SegmentationClass/{key}.png"
    if what == "image":
        image.write_bytes(image.read_bytes()[:200])
        return image
    if what == "class":
        write_pair(folder, key, make_mask([0, 9], (40, 30), seed=0))
        return mask
    Image.new("L", (30, 40)).save(mask)
    return mask


@pytest.mark.parametrize("what", ["image", "class", "size"])
def test_a_broken_sample_is_named_by_split_index_and_file(folder, what):
    broken = breaks(folder, what)
    split = make(folder)
    with pytest.raises(DataError) as caught:
        gather(split)
    message = str(caught.value)
    assert message.startswith("Sample 4 of the train split of dataset 'x' ")
    assert str(broken) in message
    if what == "class":
        with pytest.raises(DataError, match=r"2007_train_004.png has an unknown class.*is 9"):
            _ = split.targets
