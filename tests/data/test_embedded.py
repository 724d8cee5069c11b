import pytest
import torch

from energytune.data import load_dataset, pretraining_set
from energytune.data.embedded import EMBEDDED_NAMES, load_embedded
from energytune.data.rotate import rotate_and_crop
from energytune.errors import UnknownNameError

SIZES = {
    "digits": (100, 400, 597, 700),
    "digits-same": (100, 400, 597, 700),
    "digits-rotated": (60, 240, 237, 1260),
    "digits-fewshot": (30, 400, 597, 700),
    "digits-halves": (50, 400, 446, 901),
    "digits-inverted": (100, 400, 597, 700),
    "digits-rot90": (100, 400, 597, 700),
    "digits-permuted": (100, 400, 597, 700),
}
FINGERPRINTS = {
    "digits": "c5433d37d492fe41",
    "digits-same": "c5433d37d492fe41",  # the same downstream task; only pretraining differs
    "digits-rotated": "b15171105199da4d",
    "digits-fewshot": "90c1e43564726155",
    "digits-halves": "a8258d4de414e81e",
    "digits-inverted": "71f09aef35b3833b",
    "digits-rot90": "9fe168ad0041858b",
    "digits-permuted": "6e046f0d03a33a34",
}


@pytest.mark.parametrize("name", EMBEDDED_NAMES)
def test_sizes_shapes_and_types(name):
    splits, pretrain = load_dataset(name), pretraining_set(name)
    found = (len(splits.train), len(splits.valid), len(splits.test), len(pretrain.images))
    assert found == SIZES[name]
    images, targets = next(splits.train.batches(16))
    assert (images.shape, images.dtype, targets.dtype) == ((16, 64), torch.float32, torch.int64)
    assert splits.test.n_opened == 0
    assert len(splits.class_names) == splits.task.n_classes


@pytest.mark.parametrize("name", ["digits", "digits-same"])
def test_no_image_is_in_two_parts(name):
    splits, pretrain = load_dataset(name), pretraining_set(name)
    parts = [
        splits.train.images,
        splits.valid.images,
        splits.test.open("test").images,
        pretrain.images,
    ]
    rows = {tuple(row) for part in parts for row in part.tolist()}
    assert len(rows) == 1797 == sum(len(part) for part in parts)  # all of scikit-learn's digits


def test_rotated_parts_are_disjoint_and_pretraining_never_sees_the_downstream_classes():
    splits, pretrain = load_dataset("digits-rotated"), pretraining_set("digits-rotated")
    assert len(splits.train) + len(splits.valid) + len(splits.test) + len(pretrain.images) == 1797
    parts = [splits.train.images, splits.valid.images, splits.test.open("test").images]
    rows = {tuple(row) for part in parts for row in part.tolist()}
    assert len(rows) == 537
    assert pretrain.task.n_outputs == 7


def test_changed_images_are_the_same_digits():
    upright, inverted, turned, permuted = (
        load_dataset(name).valid.images * 0.3761 + 0.3053
        for name in ("digits", "digits-inverted", "digits-rot90", "digits-permuted")
    )
    torch.testing.assert_close(inverted, 1.0 - upright)
    assert torch.equal(turned[:, 0], upright[:, 7])  # the right column is the top row
    assert torch.equal(turned[:, 7], upright[:, 63])
    assert not torch.equal(permuted, upright)
    assert torch.equal(permuted.sort(dim=1).values, upright.sort(dim=1).values)
    column = permuted.std(dim=0)  # one order for all images: each pixel keeps its statistics
    torch.testing.assert_close(column.sort().values, upright.std(dim=0).sort().values)


def test_halves_share_no_digit_with_pretraining():
    splits, pretrain = load_dataset("digits-halves"), pretraining_set("digits-halves")
    assert splits.class_names == ("5", "6", "7", "8", "9")
    assert torch.bincount(splits.train.targets).tolist() == [10] * 5
    assert torch.bincount(pretrain.targets).tolist() == [178, 182, 177, 183, 181]


def test_train_is_exactly_balanced_and_all_is_stratified():
    splits = load_dataset("digits")
    assert torch.bincount(splits.train.targets).tolist() == [10] * 10
    for part in (splits.valid.targets, splits.test.open("test").targets):
        shares = torch.bincount(part) / len(part)
        assert float((shares - 0.1).abs().max()) < 0.01
    assert torch.bincount(load_dataset("digits-rotated").train.targets).tolist() == [20] * 3


def test_images_are_standardised():
    splits, pretrain = load_dataset("digits"), pretraining_set("digits")
    everything = torch.cat(
        [splits.train.images, splits.valid.images, splits.test.open("t").images, pretrain.images]
    )
    assert abs(float(everything.mean())) < 1e-3
    assert abs(float(everything.std()) - 1.0) < 1e-3
    assert float(everything.min()) == pytest.approx(-0.3053 / 0.3761)


def test_pretraining_tasks():
    digits, same = pretraining_set("digits"), pretraining_set("digits-same")
    assert torch.equal(digits.images, same.images)
    assert torch.equal(digits.targets, same.targets % 2)
    assert (digits.task.n_outputs, same.task.n_outputs) == (2, 10)
    assert digits.fingerprint != same.fingerprint
    config = digits.config
    assert (config.epochs, config.lr, config.momentum) == (40, 0.05, 0.9)
    assert (config.weight_decay, config.batch_size) == (1e-4, 64)


def test_splits_never_move():
    """A change here makes every earlier result incomparable."""
    fingerprints = {name: load_dataset(name).fingerprint[:16] for name in EMBEDDED_NAMES}
    assert fingerprints == FINGERPRINTS


def test_protocol_names_the_sets_that_scores_come_from():
    digits = load_dataset("digits")
    assert digits.protocol != load_dataset("digits-rotated").protocol
    assert digits.hashes["valid"][:12] in digits.protocol
    assert digits.hashes["test"][:12] in digits.protocol
    assert load_dataset("digits").protocol == digits.protocol


@pytest.mark.parametrize("function", [load_embedded, pretraining_set])
def test_unknown_name(function):
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        function("digit")


def test_rotation_keeps_the_centre_and_shape_and_turns_a_bar():
    upright = torch.zeros(3, 64, dtype=torch.uint8)
    upright.view(3, 8, 8)[:, 3:5, :] = 16
    turned = rotate_and_crop(upright, seed=0)
    assert turned.shape == (3, 64)
    assert float(turned.max()) <= 16.0
    assert float(turned.min()) >= 0.0
    assert torch.equal(turned, (turned * 16).round() / 16)
    assert torch.all(turned.view(3, 8, 8)[:, 3:5, 3:5].mean(dim=(1, 2)) > 12)
    assert len({tuple(row) for row in turned.tolist()}) == 3  # each its own angle
    assert torch.equal(turned, rotate_and_crop(upright, seed=0))


def test_without_rotation_or_crop_nothing_changes():
    images = torch.arange(128, dtype=torch.uint8).view(2, 64)
    same = rotate_and_crop(images, seed=0, max_degrees=0.0, crop=1.0)
    assert torch.equal(same, images.float())
