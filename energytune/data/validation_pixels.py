"""What must hold of every segmentation dataset before a search starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = ["class_pixels", "validate_pixels"]


def class_pixels(masks: Tensor, n_classes: int) -> Tensor:
    """Returns the number of pixels of each class, (K,) int64; other values count nowhere.

    Args:
        masks: Class indices, of any shape, of a whole-number type.
        n_classes: K.
    """
    counts = torch.bincount(masks.flatten()[(masks >= 0).flatten()], minlength=n_classes)
    return counts[:n_classes]


def validate_pixels(
    counts: Mapping[str, Tensor], class_names: Sequence[str], *, name: str = "custom"
) -> None:
    """Checks the labelled pixels of the splits.

    Args:
        counts: Pixels of each class, (K,) int64, of each split; ``"train"`` among them.
        class_names: Of the K classes.
        name: The dataset's name, for messages.

    Raises:
        DataError: A split has no labelled pixel, training data have one class only, or a class
            of another split has no pixel in train.
    """
    for part, pixels in counts.items():
        if int(pixels.sum()) == 0:
            raise DataError(
                f"No labelled pixel: the masks of the {part} split of dataset {name!r} hold "
                "nothing but unlabelled pixels, or there are no masks. Each split needs at least "
                "one labelled pixel."
            )
    in_train = counts["train"] > 0
    if int(in_train.sum()) < 2:
        only = class_names[int(in_train.nonzero()[0])]
        raise DataError(
            f"One class only: all labelled pixels of the training split of dataset {name!r} are "
            f"{only!r}. Segmentation needs at least 2 classes in the training split."
        )
    _check_present(counts, in_train, class_names, name)


def _check_present(
    counts: Mapping[str, Tensor], in_train: Tensor, class_names: Sequence[str], name: str
) -> None:
    """Checks that each class of the other splits has a training pixel.

    A class that is in no split is no harm: its logit is never asked for.

    Raises:
        DataError: One has none; names all such classes with their pixels in each split.
    """
    told = []
    for label, class_name in enumerate(class_names):
        found = {part: int(pixels[label]) for part, pixels in counts.items()}
        if not in_train[label] and any(found.values()):
            where = ", ".join(f"{count:,} in {part}" for part, count in found.items() if count)
            told.append(f"{class_name!r} (class {label}: {where})")
    if told:
        raise DataError(
            f"Classes absent from train: the training split of dataset {name!r} has no pixel of "
            f"{'; '.join(told)}. No head can learn them: add training images, or mark these "
            "pixels as unlabelled in the other splits."
        )
