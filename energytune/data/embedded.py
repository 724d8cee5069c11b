"""Tasks on scikit-learn's digits that show the paper's effect in seconds, offline.

``digits``
    The backbone is pretrained on even/odd; the downstream task is all ten digits.
``digits-same``
    The control: pretrained on the same ten digits (other images), so its features already fit
    and no tau between the ends should win.
``digits-rotated``
    The toy of [Ren2023]_, appendix B.1: pretrained on upright digits 3 to 9; downstream, the
    digits 0, 1, 2 are rotated by up to 45 degrees and cropped. The features' trends are clean
    here (the distance they move falls as tau grows), and so large is the shift that plain
    finetuning, the strongest adaptation, should win.
``digits-fewshot``
    As ``digits``, with three training images a class.
``digits-halves``
    Pretrained on the digits 0 to 4; downstream are 5 to 9.
``digits-inverted``, ``digits-rot90``, ``digits-permuted``
    Pretrained on the ten digits; downstream the same digits in other images: black for white,
    turned by 90 degrees, or with all pixels in other places.

All splits are disjoint, stratified, and fixed: they depend on a seed of their own, not on the
search's.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from energytune.data.digits_source import read_digits
from energytune.data.embedded_tasks import SPLIT_SEED, TRANSFERS, Transfer
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.fingerprint import hash_tensors, protocol_text, splits_fingerprint
from energytune.data.holdout import class_ranks, stratified_order
from energytune.data.preprocessing import describe_pixels
from energytune.data.pretraining import PretrainConfig, PretrainSet
from energytune.data.splits import HeldOut, Splits, TensorSplit
from energytune.data.validation import validate_splits
from energytune.errors import unknown_name
from energytune.progress import Progress
from energytune.tasks import Multiclass

__all__ = [
    "EMBEDDED_NAMES",
    "ensure",
    "load",
    "load_embedded",
    "pretraining_set",
    "status",
]

EMBEDDED_NAMES = tuple(TRANSFERS)
_MEAN, _STD = 0.3053, 0.3761  # of all pixels, scaled to [0, 1]


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Returns that the data are there, as ``Family`` says."""
    return True, "comes with scikit-learn"


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Does nothing: the data come with scikit-learn."""


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the dataset of that entry; it has inputs of its own."""
    return load_embedded(entry.name)


def load_embedded(name: str) -> Splits:
    """Returns the downstream task of one of :data:`EMBEDDED_NAMES`.

    Images are float32 (N, 64), standardised as (x / 16 - 0.3053) / 0.3761.

    Raises:
        UnknownNameError: No embedded dataset has that name.
    """
    transfer = _transfer(name)
    pixels, digits = read_digits()
    n_classes = len(transfer.classes)
    parts, targets = _parts(transfer, digits), _targets(transfer, digits)
    if transfer.change is not None:
        pixels = transfer.change(pixels)
    images = _standardise(pixels)
    train, valid, test = (
        TensorSplit(images[parts[part]], targets[parts[part]])
        for part in ("train", "valid", "test")
    )
    validate_splits(train, valid, test, n_classes=n_classes, name=name)
    hashes = {
        part: hash_tensors((split.images, split.targets))
        for part, split in (("train", train), ("valid", valid), ("test", test))
    }
    return Splits(
        name=name,
        train=train,
        valid=valid,
        test=HeldOut(test),
        task=Multiclass(n_classes),
        class_names=tuple(str(digit) for digit in transfer.classes),
        fingerprint=splits_fingerprint(hashes, transfer.transform_id),
        protocol=protocol_text(name, hashes, len(valid), len(test)),
        hashes=hashes,
        preprocessing=describe_pixels(8, 16.0, _MEAN, _STD, transfer.step),
    )


def pretraining_set(entry: DatasetEntry) -> PretrainSet:
    """Returns what the backbone of an embedded dataset is pretrained on, upright and unchanged.

    700 images beside the downstream ones, labelled by their digit or as even (0) or odd (1); or
    all images of the digits that are no downstream class.
    """
    transfer = _transfer(entry.name)
    pixels, digits = read_digits()
    if transfer.n_pretrain is None:
        classes = sorted(set(range(10)) - set(transfer.classes))
        chosen = torch.nonzero(torch.isin(digits, torch.tensor(classes))).squeeze(1)
        targets, n_classes = digits[chosen] - classes[0], len(classes)
    else:
        chosen = _parts(transfer, digits)["pretrain"]
        targets, n_classes = digits[chosen], 10
        if transfer.pretrain_on == "parity":
            targets, n_classes = targets % 2, 2
    images = _standardise(pixels[chosen])
    return PretrainSet(
        images=images,
        targets=targets,
        task=Multiclass(n_classes),
        config=PretrainConfig(),
        fingerprint=hash_tensors((images, targets)),
    )


def _transfer(name: str) -> Transfer:
    if name not in TRANSFERS:
        raise unknown_name("embedded dataset", name, EMBEDDED_NAMES)
    return TRANSFERS[name]


def _standardise(pixels: Tensor) -> Tensor:
    return (pixels.to(torch.float32) / 16.0 - _MEAN) / _STD


def _targets(transfer: Transfer, digits: Tensor) -> Tensor:
    """Returns class indices; -1 for digits that are no downstream class."""
    lookup = torch.full((10,), -1, dtype=torch.int64)
    lookup[list(transfer.classes)] = torch.arange(len(transfer.classes))
    return lookup[digits]


def _parts(transfer: Transfer, digits: Tensor) -> dict[str, Tensor]:
    """Returns the indices of disjoint, stratified parts."""
    sizes = {"valid": transfer.n_valid, "test": transfer.n_test}
    if transfer.n_pretrain is not None:
        sizes = {"pretrain": transfer.n_pretrain, **sizes}
    targets = _targets(transfer, digits)
    return _cut(targets, n_train_per_class=transfer.n_train_per_class, sizes=sizes)


def _cut(targets: Tensor, *, n_train_per_class: int, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Cuts the samples with a target >= 0 into disjoint, stratified parts of given sizes."""
    ranks = class_ranks(targets, [str(index) for index in range(len(targets))], SPLIT_SEED)
    ranks.pop(-1, None)
    parts = {"train": [i for indices in ranks.values() for i in indices[:n_train_per_class]]}
    rest = stratified_order({k: indices[n_train_per_class:] for k, indices in ranks.items()})
    for part, size in sizes.items():
        parts[part], rest = rest[:size], rest[size:]
    return {
        part: torch.tensor(sorted(indices), dtype=torch.int64) for part, indices in parts.items()
    }
