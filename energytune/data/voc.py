"""PASCAL VOC 2012, semantic segmentation: 20 kinds of things and the background, [Everingham2015]_.

The official lists give 1,464 images to train on and 1,449 to validate on; the labels of the
official test set were never published. So VOC's ``val`` is the test split here, as in the
literature, and a fifth of VOC's ``train`` is the validation split. Which images these are
depends on their ids alone, but for one rule: the last image of a class stays in train.

.. [Everingham2015] M. Everingham et al. The Pascal visual object classes challenge: a
   retrospective. IJCV 111, 2015.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.fingerprint import hash_lines, protocol_text, splits_fingerprint
from energytune.data.joint_transforms import JointEval, JointTrain, fits
from energytune.data.mask_census import PairFacts, take_census
from energytune.data.mask_files import MaskPair
from energytune.data.mask_split import MaskSplit
from energytune.data.preprocessing import describe_images
from energytune.data.splits import HeldOut, Splits
from energytune.data.validation_pixels import validate_pixels
from energytune.data.voc_files import find_voc, read_list, require_voc
from energytune.errors import DataError
from energytune.progress import Progress
from energytune.tasks import PerPixel

__all__ = ["CLASS_NAMES", "cut_valid_images", "ensure", "load", "status"]

CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""In the order of the masks' values; 255 is the border around an object, without a label."""

_VALID_FRACTION = 0.2
_SPLIT_SEED = 0


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the files, as ``Family`` says."""
    folder, missing = find_voc(root)
    if not missing:
        return True, f"in {folder}"
    return False, f"not in {folder} (missing: {', '.join(missing)})"


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Says where the files come from if they are missing, as ``Family`` says."""
    require_voc(root, entry.name)


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the splits, as ``Family`` says.

    The hashes address the ids and the content of images and masks, which is read once and
    remembered (:mod:`energytune.data.mask_census`).
    """
    folder = require_voc(request.root, entry.name)
    lists = {part: read_list(folder, part) for part in ("train", "val")}
    _check_disjoint(lists["train"], lists["val"], folder)
    pairs = [*lists["train"], *lists["val"]]
    census = take_census(pairs, CLASS_NAMES, name=entry.name, progress=request.progress)
    facts = dict(zip((pair.key for pair in pairs), census, strict=True))
    train, valid = cut_valid_images(lists["train"], facts)
    parts = {"train": train, "valid": valid, "test": lists["val"]}
    counts = {part: _pixels(chosen, facts) for part, chosen in parts.items()}
    validate_pixels(counts, CLASS_NAMES, name=entry.name)
    transforms = JointEval(request.input_config), JointTrain(request.input_config)
    splits = {
        part: MaskSplit(
            chosen,
            CLASS_NAMES,
            *transforms,
            request.loader_workers,
            name=f"the {part} split of dataset {entry.name!r}",
        )
        for part, chosen in parts.items()
    }
    hashes = {
        part: hash_lines(f"{pair.key} {facts[pair.key].digest}" for pair in chosen)
        for part, chosen in parts.items()
    }
    note = "test is VOC's val, valid a fifth of VOC's train"
    if not all(fits(fact.size, request.input_config) for fact in census):
        height, width = request.input_config.size[1:]
        note += f"; images and masks made smaller to fit {height} x {width} pixels"
    return Splits(
        name=entry.name,
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=PerPixel(len(CLASS_NAMES)),
        class_names=CLASS_NAMES,
        fingerprint=splits_fingerprint(hashes, *(transform.id for transform in transforms)),
        protocol=protocol_text(
            entry.name, hashes, len(valid), len(lists["val"]), metric="mIoU", note=note
        ),
        hashes=hashes,
        preprocessing=describe_images(request.input_config, "fit"),
    )


def cut_valid_images(
    pairs: Sequence[MaskPair], facts: dict[str, PairFacts], *, fraction: float = _VALID_FRACTION
) -> tuple[list[MaskPair], list[MaskPair]]:
    """Cuts a validation set from training images that may show several classes each.

    Images are taken by the sha256 of their key until there are enough, passing over each one
    that is the last of a class in train. There is no stratification beyond that.

    Args:
        pairs: Training images.
        facts: Pixels of each class, by key.
        fraction: Share for validation, in (0, 1).

    Returns:
        Train and valid, each in the order of ``pairs``.
    """
    shows = {pair.key: torch.tensor(facts[pair.key].pixels) > 0 for pair in pairs}
    left = torch.stack(list(shows.values())).sum(dim=0)
    valid: set[str] = set()
    n_valid = min(max(1, round(fraction * len(pairs))), len(pairs) - 1)
    for key in sorted(shows, key=_digest):
        if len(valid) == n_valid:
            break
        if bool((left[shows[key]] > 1).all()):
            valid.add(key)
            left -= shows[key].to(left.dtype)
    return (
        [pair for pair in pairs if pair.key not in valid],
        [pair for pair in pairs if pair.key in valid],
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(f"{_SPLIT_SEED}\0{key}".encode()).digest()


def _pixels(pairs: Sequence[MaskPair], facts: dict[str, PairFacts]) -> Tensor:
    """Returns the pixels of each class in all of ``pairs``, (K,) int64."""
    empty = torch.zeros(1, len(CLASS_NAMES), dtype=torch.int64)
    rows = torch.tensor([facts[pair.key].pixels for pair in pairs]).view(-1, len(CLASS_NAMES))
    return torch.cat([empty, rows.to(torch.int64)]).sum(dim=0)


def _check_disjoint(train: Sequence[MaskPair], test: Sequence[MaskPair], folder: Path) -> None:
    """Checks that no image is trained on and tested on.

    Raises:
        DataError: One is; names it.
    """
    both = sorted({pair.key for pair in train} & {pair.key for pair in test})
    if both:
        raise DataError(
            f"{len(both)} images are in both train.txt and val.txt of {folder}, the first is "
            f"{both[0]!r}. Training images must not be tested on: take them out of one list."
        )
