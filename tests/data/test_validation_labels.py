from __future__ import annotations

import pytest
import torch
from torch import Tensor

from energytune.data.validation_labels import check_labels
from energytune.errors import DataError

N = float("nan")
NAMES = ("toxic", "sweet")
GOOD = [[1, 0], [0, 1], [N, 1], [1, N]]


def targets(
    train: list[list[float]] = GOOD,
    valid: list[list[float]] = GOOD,
    test: list[list[float]] = GOOD,
) -> dict[str, Tensor]:
    return {
        part: torch.tensor(rows, dtype=torch.float32).reshape(-1, 2)
        for part, rows in (("train", train), ("valid", valid), ("test", test))
    }


def test_good_labels_leave_no_note() -> None:
    assert check_labels(targets(), NAMES, name="x") == []


def test_a_class_that_train_lacks_is_an_error_with_its_counts() -> None:
    with pytest.raises(DataError) as caught:
        check_labels(
            targets(train=[[0, 1], [0, 0], [N, N]]), NAMES, name="x", split="Murcko scaffold split"
        )
    message = str(caught.value)
    assert "One class only in train" in message
    assert "'toxic' has 0 yes and 2 no in train, 2 yes and 1 no in valid" in message
    assert "'sweet'" not in message
    assert "The Murcko scaffold split leaves this class out of train." in message
    assert "a column 'split'" in message


def test_a_class_that_is_nowhere_is_not_the_splits_fault() -> None:
    rows = [[0.0, 1.0], [0.0, 0.0]]
    with pytest.raises(DataError) as caught:
        check_labels(targets(rows, rows, rows), NAMES, name="x", split="Murcko scaffold split")
    assert "leaves this class out" not in str(caught.value)


def test_many_bad_labels_are_counted() -> None:
    rows = torch.zeros(3, 9)
    names = tuple(f"label{i}" for i in range(9))
    with pytest.raises(DataError, match=r"'label4'.*; and 4 more"):
        check_labels({"train": rows, "valid": rows, "test": rows}, names, name="x")


def test_a_label_that_can_not_be_scored_is_noted() -> None:
    (note,) = check_labels(targets(test=[[1, 0], [1, 1]]), NAMES, name="x")
    assert note == "1 of 2 labels have one class only in test and are not scored there: toxic"


@pytest.mark.parametrize("part", ["valid", "test"])
def test_nothing_to_score_is_an_error(part: str) -> None:
    with pytest.raises(DataError, match=f"Nothing to score: no label .* in {part} .official split"):
        check_labels(targets(**{part: [[1, 0], [1, N]]}), NAMES, name="x", split="official split")


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_missing_labels_only_are_an_error(part: str) -> None:
    with pytest.raises(
        DataError, match=f"Missing labels only: none of the 2 samples of the {part}"
    ):
        check_labels(targets(**{part: [[N, N], [N, N]]}), NAMES, name="x")


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="Empty split: the valid split of dataset 'x'"):
        check_labels(targets(valid=[]), NAMES, name="x")


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, float("inf")])
def test_a_label_must_be_0_1_or_missing(value: float) -> None:
    with pytest.raises(DataError, match=r"sample 1 has .* for 'sweet' \(1 such labels\)"):
        check_labels(targets(train=[[1, 0], [0, value]]), NAMES, name="x")
