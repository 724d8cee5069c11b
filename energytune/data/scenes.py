"""The embedded segmentation task: which digit does a stroke on a canvas belong to?

Downstream, each canvas shows four digits among 0 to 4, and each pixel is background or one of
these five. The backbone is pretrained to tell which one digit among 5 to 9 is on a canvas: it
knows strokes, textures and clutter, but none of the downstream classes, and nothing of pixels.

No image of a digit is used twice across the splits and pretraining. The splits depend on a seed
of their own, not on the search's.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from energytune.config import InputConfig
from energytune.data.digits_source import read_digits
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.fingerprint import hash_tensors, protocol_text, splits_fingerprint
from energytune.data.holdout import class_ranks, stratified_order
from energytune.data.preprocessing import describe_images
from energytune.data.pretraining import PretrainConfig, PretrainSet
from energytune.data.scene_canvas import draw_scene
from energytune.data.splits import HeldOut, Splits, TensorSplit
from energytune.data.validation_pixels import class_pixels, validate_pixels
from energytune.progress import Progress
from energytune.tasks import Multiclass, PerPixel

__all__ = ["CLASS_NAMES", "ensure", "load", "load_scenes", "pretraining_set", "status"]

CLASS_NAMES = ("background", "0", "1", "2", "3", "4")
_SIZES = {"train": 48, "valid": 60, "test": 100}  # canvases
_N_DOWNSTREAM = 5
_PRETRAIN_COPIES = 2  # canvases that each pretraining digit is drawn on
_SPLIT_SEED = 0
_N_DIGITS = 4  # on a canvas
_SIDE = 64  # of a canvas in pixels; pretraining sees one half as large
_N_BARS = 2  # on a canvas
_MEAN, _STD = 0.38, 0.16  # about those of all channels, scaled to [0, 1]
_TRANSFORM_ID = "scenes-1"
_INPUT = InputConfig((3, _SIDE, _SIDE), (_MEAN,) * 3, (_STD,) * 3, "bilinear", 1.0)


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Returns that the data are there, as ``Family`` says."""
    return True, "comes with scikit-learn"


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Does nothing: the digits come with scikit-learn, and the scenes are drawn."""


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the dataset; it has inputs of its own."""
    return load_scenes()


def load_scenes() -> Splits:
    """Returns the downstream task.

    Images are float32 (N, 3, 64, 64), standardised as (x / 255 - 0.5) / 0.25; targets are uint8
    (N, 64, 64), every pixel labelled.
    """
    pixels, digits = read_digits()
    parts = {
        part: _draw(pixels, digits, canvases, part)
        for part, canvases in _downstream_canvases(digits).items()
    }
    name = "digit-scenes"
    counts = {part: class_pixels(masks, len(CLASS_NAMES)) for part, (_, masks) in parts.items()}
    validate_pixels(counts, CLASS_NAMES, name=name)
    hashes = {part: hash_tensors(tensors) for part, tensors in parts.items()}
    splits = {part: TensorSplit(_standardise(images), m) for part, (images, m) in parts.items()}
    return Splits(
        name=name,
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=PerPixel(len(CLASS_NAMES)),
        class_names=CLASS_NAMES,
        fingerprint=splits_fingerprint(hashes, _TRANSFORM_ID),
        protocol=protocol_text(
            name, hashes, len(splits["valid"]), len(splits["test"]), metric="mIoU"
        ),
        hashes=hashes,
        preprocessing=describe_images(_INPUT, "fit"),
    )


def pretraining_set(entry: DatasetEntry) -> PretrainSet:
    """Returns canvases with one digit among 5 to 9 each, labelled by that digit."""
    images, labels = _pretraining_scenes()
    return PretrainSet(
        images=_standardise(images),
        targets=labels,
        task=Multiclass(10 - _N_DOWNSTREAM),
        config=PretrainConfig(epochs=15, lr=0.05, weight_decay=1e-3, batch_size=32),
        fingerprint=hash_tensors((images, labels)),
    )


@lru_cache(maxsize=1)  # drawing takes seconds; nobody writes to what it returns
def _pretraining_scenes() -> tuple[Tensor, Tensor]:
    """Returns images (N, 3, 32, 32) uint8 and targets (N,)."""
    pixels, digits = read_digits()
    chosen = torch.nonzero(digits >= _N_DOWNSTREAM).squeeze(1).tolist()
    images, targets = [], []
    for copy in range(_PRETRAIN_COPIES):
        for index in chosen:
            name = f"pretrain {copy} {index}"
            scene = draw_scene(
                pixels[[index]], [1], side=_SIDE // 2, n_bars=_N_BARS // 2, name=name
            )
            images.append(scene.image)
            targets.append(int(digits[index]) - _N_DOWNSTREAM)
    return torch.stack(images), torch.tensor(targets, dtype=torch.int64)


def _downstream_canvases(digits: Tensor) -> dict[str, list[list[int]]]:
    """Returns for each split the digits that share a canvas, by index; none is used twice.

    Each split holds the classes in equal shares, as far as there are so many digits of each.
    """
    keys = [str(index) for index in range(len(digits))]
    ranks = class_ranks(digits, keys, _SPLIT_SEED)
    order = stratified_order({label: ranks[label] for label in range(_N_DOWNSTREAM)})
    canvases: dict[str, list[list[int]]] = {}
    for part, n_canvases in _SIZES.items():
        n_taken = _N_DIGITS * n_canvases
        taken, order = order[:n_taken], order[n_taken:]
        # neighbours in a stratified order are of different classes: mix them first
        mixed = sorted(taken, key=lambda index: _digest(part, index))
        canvases[part] = [mixed[i : i + _N_DIGITS] for i in range(0, n_taken, _N_DIGITS)]
    return canvases


def _digest(part: str, index: int) -> bytes:
    return hashlib.sha256(f"{_SPLIT_SEED}\0{part}\0{index}".encode()).digest()


def _draw(
    pixels: Tensor, digits: Tensor, canvases: list[list[int]], part: str
) -> tuple[Tensor, Tensor]:
    """Returns images (N, 3, 64, 64) and masks (N, 64, 64), both uint8."""
    scenes = [
        draw_scene(
            pixels[indices],
            (digits[indices] + 1).tolist(),
            side=_SIDE,
            n_bars=_N_BARS,
            name=f"{part} {indices}",
        )
        for indices in canvases
    ]
    return torch.stack([s.image for s in scenes]), torch.stack([s.mask for s in scenes])


def _standardise(images: Tensor) -> Tensor:
    return (images.to(torch.float32) / 255.0 - _MEAN) / _STD
