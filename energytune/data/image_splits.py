"""From labelled images to splits that a search takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Subset

from energytune.data.dataset_split import DatasetSplit
from energytune.data.entry import LoadRequest
from energytune.data.fingerprint import protocol_text, splits_fingerprint
from energytune.data.holdout import cut_valid
from energytune.data.image_sources import ImageSource
from energytune.data.preprocessing import describe_images
from energytune.data.splits import HeldOut, Splits
from energytune.data.transforms import EvalTransform, TrainTransform
from energytune.data.validation import validate_splits
from energytune.tasks import Multiclass

__all__ = ["Cut", "make_splits", "parts_of"]

_SPLIT_SEED = 0


@dataclass(frozen=True)
class Cut:
    """Some samples of a source.

    Attributes:
        source: Labelled images.
        indices: Which of them, int64.
    """

    source: ImageSource
    indices: Tensor


def parts_of(
    train: ImageSource,
    valid: ImageSource | None,
    test: ImageSource,
    *,
    valid_fraction: float = 0.2,
) -> dict[str, Cut]:
    """Says which samples are train, valid and test.

    Args:
        train: To train on.
        valid: To select on; None cuts a stable share of each class from ``train``.
        test: To report on.
        valid_fraction: The share that is cut.
    """
    if valid is None:
        kept, cut = cut_valid(
            torch.from_numpy(train.targets),
            train.keys(),
            fraction=valid_fraction,
            seed=_SPLIT_SEED,
        )
        parts = {"train": Cut(train, kept), "valid": Cut(train, cut)}
    else:
        parts = {"train": _whole(train), "valid": _whole(valid)}
    return {**parts, "test": _whole(test)}


def make_splits(
    name: str,
    parts: dict[str, Cut],
    *,
    class_names: Sequence[str],
    request: LoadRequest,
    told: str | None = None,
    note: str = "",
) -> Splits:
    """Makes the splits of an image dataset.

    Args:
        name: Short name of the dataset; models are registered under it.
        parts: What :func:`parts_of` returns.
        class_names: One name a class.
        request: How it is to be loaded.
        told: The name that the user gave, for messages; None is ``name``.
        note: What the protocol says besides, where splits are not the official ones.

    Raises:
        DataError: A split is empty, there is one class only, or labels are out of range.
    """
    told = told or name
    transforms = EvalTransform(request.input_config), TrainTransform(request.input_config)
    splits, hashes = {}, {}
    for part, cut in parts.items():
        indices = cut.indices.tolist()
        splits[part] = DatasetSplit(
            Subset(cut.source, indices),  # type: ignore[arg-type]
            *transforms,
            request.loader_workers,
            name=f"the {part} split of dataset {told!r}",
            targets=torch.from_numpy(cut.source.targets)[cut.indices],
        )
        hashes[part] = cut.source.identity(indices)
    validate_splits(
        splits["train"], splits["valid"], splits["test"], n_classes=len(class_names), name=told
    )
    labelled = f"{name} ({note})" if note else name
    return Splits(
        name=name,
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=Multiclass(len(class_names)),
        class_names=tuple(class_names),
        fingerprint=splits_fingerprint(hashes, *(transform.id for transform in transforms)),
        protocol=protocol_text(labelled, hashes, len(splits["valid"]), len(splits["test"])),
        hashes=hashes,
        preprocessing=describe_images(request.input_config, "crop"),
    )


def _whole(source: ImageSource) -> Cut:
    return Cut(source, torch.arange(len(source)))
