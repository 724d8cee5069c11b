import pytest
import torch

from energytune.data import TensorSplit, validate_splits
from energytune.errors import DataError


def split(targets, images=None) -> TensorSplit:
    targets = torch.tensor(targets, dtype=torch.int64)
    return TensorSplit(torch.zeros(len(targets), 2) if images is None else images, targets)


GOOD = split([0, 1, 2])


def check(train=GOOD, valid=GOOD, test=GOOD, n_classes=3):
    validate_splits(train, valid, test, n_classes=n_classes, name="toy")


def test_good_data_pass():
    check()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_empty_split(part):
    with pytest.raises(DataError, match=f"Empty split: the {part} split of dataset 'toy' has 0"):
        check(**{part: split([])})


def test_one_class_in_train():
    with pytest.raises(DataError, match=r"One class only: all 3 training samples.* label 2"):
        check(train=split([2, 2, 2]))


def test_one_class_task():
    with pytest.raises(DataError, match="at least 2 classes"):
        check(train=split([0]), valid=split([0]), test=split([0]), n_classes=1)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("label", [-1, 3, 255])
def test_labels_out_of_range(part, label):
    with pytest.raises(
        DataError, match=rf"the {part} split.*\[0, 2\] \(3 classes\), but sample 1 has {label} "
    ):
        check(**{part: split([0, label, 1])})


def test_labels_that_count_from_one_are_recognised():
    with pytest.raises(DataError, match="count from 1: subtract 1"):
        check(train=split([1, 2, 3]))


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_pixels(part, value):
    images = torch.zeros(3, 2)
    images[1, 1] = value
    images[2, 0] = value
    with pytest.raises(DataError, match=rf"the {part} split.*2 of 3 samples, the first at index 1"):
        check(**{part: split([0, 1, 2], images)})


def test_classes_absent_from_train_are_told_with_their_counts():
    with pytest.raises(
        DataError, match=r"absent from train.*class 1 \(3 samples\), class 2 \(1 samples\)"
    ):
        check(train=split([0, 3]), valid=split([1, 1, 0]), test=split([2, 1]), n_classes=4)


def test_a_class_that_no_split_has_is_no_harm():
    check(train=split([0, 2]), valid=split([2]), test=split([0]), n_classes=4)
