"""The transfers between the same small images that the embedded datasets are.

A transfer says which digits the backbone is pretrained on, which ones are to be told apart
downstream, how many of them are trained on, and what is done to the downstream images.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from energytune.data.rotate import rotate_and_crop

__all__ = ["SPLIT_SEED", "TRANSFERS", "Transfer"]

SPLIT_SEED = 0
_ALL = tuple(range(10))


@dataclass(frozen=True)
class Transfer:
    """One embedded dataset.

    Attributes:
        classes: Digits of the downstream task, in the order of its class indices.
        n_train_per_class: Training images of each class.
        n_valid: Validation images.
        n_test: Test images.
        n_pretrain: Pretraining images, cut from the same digits; None pretrains on all images of
            the digits that are no downstream class.
        pretrain_on: ``"digit"``, or ``"parity"``: even (0) or odd (1).
        change: What is done to the downstream images, (N, 64) uint8 in 0..16; None is nothing.
        transform_id: Names ``change`` and the standardisation in fingerprints.
        step: Downstream pixels are multiples of it.
    """

    classes: tuple[int, ...]
    n_train_per_class: int
    n_valid: int
    n_test: int
    n_pretrain: int | None
    pretrain_on: Literal["digit", "parity"] = "digit"
    change: Callable[[Tensor], Tensor] | None = None
    transform_id: str = "digits-1"
    step: float = 1.0


def _rotate(pixels: Tensor) -> Tensor:
    return rotate_and_crop(pixels, seed=SPLIT_SEED)


def _invert(pixels: Tensor) -> Tensor:
    return 16 - pixels


def _turn_left(pixels: Tensor) -> Tensor:
    side = math.isqrt(pixels.shape[1])
    return torch.rot90(pixels.view(-1, side, side), dims=(1, 2)).reshape(pixels.shape)


def _permute(pixels: Tensor) -> Tensor:
    """Moves every pixel to another place, the same for all images."""
    places = range(pixels.shape[1])
    order = sorted(
        places, key=lambda i: hashlib.sha256(f"{SPLIT_SEED}\0pixel\0{i}".encode()).digest()
    )
    return pixels[:, order]


TRANSFERS: dict[str, Transfer] = {
    "digits": Transfer(_ALL, 10, 400, 597, 700, pretrain_on="parity"),
    "digits-rotated": Transfer(
        (0, 1, 2), 20, 240, 237, None, change=_rotate, transform_id="digits-rotated-1", step=1 / 16
    ),
    "digits-same": Transfer(_ALL, 10, 400, 597, 700),
    "digits-fewshot": Transfer(_ALL, 3, 400, 597, 700, pretrain_on="parity"),
    "digits-halves": Transfer((5, 6, 7, 8, 9), 10, 400, 446, None),
    "digits-inverted": Transfer(
        _ALL, 10, 400, 597, 700, change=_invert, transform_id="digits-inverted-1"
    ),
    "digits-rot90": Transfer(
        _ALL, 10, 400, 597, 700, change=_turn_left, transform_id="digits-rot90-1"
    ),
    "digits-permuted": Transfer(
        _ALL, 10, 400, 597, 700, change=_permute, transform_id="digits-permuted-1"
    ),
}
"""All embedded datasets by name."""
