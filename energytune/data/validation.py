"""What must hold of every dataset before a search starts."""

from __future__ import annotations

import torch
from torch import Tensor

from energytune.data.splits import Split, TensorSplit
from energytune.errors import DataError

__all__ = ["check_images", "check_not_empty", "check_targets", "validate_splits"]


def validate_splits(
    train: Split, valid: Split, test: Split, *, n_classes: int, name: str = "custom"
) -> None:
    """Checks three splits; images that are not in memory are checked batch by batch later.

    Args:
        train: Training split.
        valid: Validation split.
        test: Test split.
        n_classes: Number of classes that targets may take.
        name: The dataset's name, for messages.

    Raises:
        DataError: A split is empty, training data have one class only, a label is out of
            [0, n_classes), a class of valid or test is absent from train, or a pixel is not
            finite.
    """
    parts = {
        f"the {part} split of dataset {name!r}": split
        for part, split in (("train", train), ("valid", valid), ("test", test))
    }
    for where, split in parts.items():
        check_not_empty(len(split), where)
    present = torch.unique(train.targets).tolist()
    if n_classes < 2 or len(present) < 2:
        raise DataError(
            f"One class only: all {len(train)} training samples of dataset {name!r} have the label "
            f"{present[0]}. Classification needs at least 2 classes in the training split."
        )
    for where, split in parts.items():
        check_targets(split.targets, n_classes, where)
    _check_present(parts, set(present), name)
    for where, split in parts.items():
        if isinstance(split, TensorSplit):
            check_images(split.images, where)


def _check_present(parts: dict[str, Split], present: set[int], name: str) -> None:
    """Checks that each class of valid and test has a training sample.

    A class that is in no split is no harm: its logit is never asked for.

    Raises:
        DataError: One has none; names all such classes with their counts.
    """
    absent: dict[int, int] = {}
    for split in parts.values():
        classes, counts = torch.unique(split.targets, return_counts=True)
        for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
            if label not in present:
                absent[label] = absent.get(label, 0) + count
    if not absent:
        return
    told = ", ".join(f"class {label} ({count} samples)" for label, count in sorted(absent.items()))
    raise DataError(
        f"Classes absent from train: the training split of dataset {name!r} has no sample of "
        f"{told}, which are in valid or test. No head can learn them: add training samples, or "
        "remove these classes from the other splits."
    )


def check_not_empty(n_samples: int, where: str) -> None:
    """Checks that a split has samples.

    Raises:
        DataError: It has none.
    """
    if n_samples == 0:
        raise DataError(f"Empty split: {where} has 0 samples, but needs at least 1.")


def check_targets(targets: Tensor, n_classes: int, where: str) -> None:
    """Checks that each target is a class index.

    Raises:
        DataError: A label lies outside [0, n_classes); names the first such sample.
    """
    bad = torch.nonzero((targets < 0) | (targets >= n_classes)).squeeze(1)
    if len(bad) == 0:
        return
    first = int(bad[0])
    advice = ""
    if int(targets.min()) == 1 and int(targets.max()) == n_classes:
        advice = " The labels seem to count from 1: subtract 1 from each."
    raise DataError(
        f"Labels out of range: labels of {where} must lie in [0, {n_classes - 1}] "
        f"({n_classes} classes), but sample {first} has {int(targets[first])} "
        f"({len(bad)} of {len(targets)} samples are out of range).{advice}"
    )


def check_images(images: Tensor, where: str) -> None:
    """Checks that each pixel is finite.

    Raises:
        DataError: A pixel is NaN or infinite; names the first such sample.
    """
    finite = torch.isfinite(images)
    if bool(finite.all()):
        return
    per_sample = finite.flatten(1).all(dim=1)
    bad = torch.nonzero(~per_sample).squeeze(1)
    raise DataError(
        f"Non-finite pixels: {where} holds NaN or infinity in {len(bad)} of {len(images)} samples, "
        f"the first at index {int(bad[0])}. Repair or remove these samples."
    )
