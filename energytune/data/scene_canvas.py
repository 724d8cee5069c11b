"""Small scenes: strokes of handwritten digits on textured canvases, with a mask of the strokes.

All arithmetic is in float64 and its outcome rounded to 8 bits, so that a scene does not depend
on the machine that draws it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.seeds import derive_seed

__all__ = ["Scene", "draw_scene"]

_DIGIT_SIDES = (22, 31)  # smallest and largest digit, in pixels
_BAR_WIDTH, _BAR_LENGTH = 3.0, 16.0
_TEXTURE = ((16, 0.1), (5, 0.06), (1, 0.03))  # grain of the noise in pixels, and its amplitude


@dataclass(frozen=True)
class Scene:
    """One canvas.

    Attributes:
        image: (3, H, H) uint8.
        mask: 0 for the background, else the class of the stroke, (H, H) uint8.
    """

    image: Tensor
    mask: Tensor


def draw_scene(digits: Tensor, classes: list[int], *, side: int, n_bars: int, name: str) -> Scene:
    """Draws digits on a canvas, each in a field of its own.

    The canvas has a colour and noise of three grains; strokes are lighter, each in a colour of
    its own, and so are bars, which belong to the background.

    Args:
        digits: Raw images, (1 or 4, 64) uint8 in 0..16.
        classes: What a stroke of each is in the mask, > 0.
        side: Height and width of the canvas in pixels; four digits share it as quarters.
        n_bars: Bars.
        name: Seed of everything that is drawn by chance.
    """
    rng = torch.Generator().manual_seed(derive_seed("scene", name))
    colour = _uniform(rng, 0.15, 0.5, 3)
    canvas = _texture(colour, side, rng)
    for _ in range(n_bars):
        canvas = _paint(canvas, _bar(side, rng), _lighter(colour, rng))
    mask = torch.zeros(side, side, dtype=torch.uint8)
    places = _places(len(digits), side, rng)
    for digit, label, (top, left, height) in zip(digits, classes, places, strict=True):
        ink = _resize(digit.view(1, 8, 8).to(torch.float64) / 16.0, height)[0]
        alpha = F.pad(ink, (left, side - left - height, top, side - top - height))
        canvas = _paint(canvas, alpha, _lighter(colour, rng))
        # just below one half: there, many a pixel lies exactly, but for its last bit
        mask[alpha > 0.5 - 1e-6] = label
    return Scene((canvas.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8), mask)


def _uniform(rng: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng, dtype=torch.float64)


def _texture(colour: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """Returns a canvas of that colour with noise, (3, side, side)."""
    canvas = colour.view(3, 1, 1).expand(3, side, side)
    for grain, amplitude in _TEXTURE:
        n = side // grain
        canvas = canvas + _resize(_uniform(rng, -amplitude, amplitude, 3, n, n), side)
    return canvas


def _lighter(colour: Tensor, rng: torch.Generator) -> Tensor:
    return colour + _uniform(rng, 0.25, 0.6, 3)


def _paint(canvas: Tensor, alpha: Tensor, colour: Tensor) -> Tensor:
    return canvas + alpha * (colour.view(3, 1, 1) - canvas)


def _bar(side: int, rng: torch.Generator) -> Tensor:
    """Returns the opacity of a straight bar at a random place, (side, side) in [0, 1]."""
    start, angle = _uniform(rng, 0, side, 2), _uniform(rng, 0, math.pi, 1)[0]
    along = torch.stack([angle.sin(), angle.cos()])
    grid = torch.arange(side, dtype=torch.float64) + 0.5
    offset = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), dim=-1) - start
    at = (offset @ along).clamp(0.0, _BAR_LENGTH)
    distance: Tensor = torch.linalg.vector_norm(offset - at.unsqueeze(-1) * along, dim=-1)
    return (_BAR_WIDTH / 2.0 + 0.5 - distance).clamp(0.0, 1.0)


def _places(n_digits: int, side: int, rng: torch.Generator) -> list[tuple[int, int, int]]:
    """Returns top, left and height of each digit, at random within its field."""
    draws = torch.rand((n_digits, 3), generator=rng, dtype=torch.float64).tolist()
    n_rows = math.isqrt(n_digits)
    field = side // n_rows
    smallest, largest = _DIGIT_SIDES
    places = []
    for index, (size, down, right) in enumerate(draws):
        row, column = divmod(index, n_rows)
        height = smallest + int(size * (largest - smallest + 1))
        room = field - height + 1
        places.append((row * field + int(down * room), column * field + int(right * room), height))
    return places


def _resize(images: Tensor, side: int) -> Tensor:
    """Returns square images (C, s, s) at another size, bilinearly."""
    if images.shape[-1] == side:
        return images
    size = (side, side)
    return F.interpolate(images.unsqueeze(0), size=size, mode="bilinear", align_corners=False)[0]
