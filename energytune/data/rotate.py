"""The shift between pretraining and downstream in ``digits-rotated``."""

from __future__ import annotations

import hashlib
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

__all__ = ["rotate_and_crop"]


def rotate_and_crop(
    pixels: Tensor, *, seed: int, max_degrees: float = 45.0, crop: float = 7 / 8
) -> Tensor:
    """Rotates each image about its centre, crops its centre and resizes that to the old size.

    An image's angle depends on ``seed`` and its index alone. Pixels are rounded to 1/16, so
    that the last bits of the interpolation, which differ between machines, are gone.

    Args:
        pixels: Square one-channel images, (N, side * side), of any scale.
        seed: Seed of the angles.
        max_degrees: Angles are uniform in [-max_degrees, max_degrees].
        crop: Share of the side that is kept, in (0, 1].

    Returns:
        Images of the same shape, float32.
    """
    n_images, side = pixels.shape[0], math.isqrt(pixels.shape[1])
    turns = torch.tensor([_unit(seed, index) for index in range(n_images)], dtype=torch.float64)
    angles = math.radians(max_degrees) * (2.0 * turns - 1.0)
    cos, sin, zero = angles.cos() * crop, angles.sin() * crop, torch.zeros_like(angles)
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(n_images, 2, 3)
    images = pixels.to(torch.float64).view(n_images, 1, side, side)
    grid = F.affine_grid(matrices, [n_images, 1, side, side], align_corners=False)
    turned = F.grid_sample(images, grid, align_corners=False)
    return (torch.round(turned * 16.0) / 16.0).view(n_images, side * side).to(torch.float32)


def _unit(seed: int, index: int) -> float:
    digest = hashlib.sha256(f"{seed}\0angle\0{index}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
