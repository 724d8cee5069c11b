"""What a backbone expects of its input images."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InputConfig"]


@dataclass(frozen=True)
class InputConfig:
    """Input geometry and normalisation, as timm's data config states them.

    Attributes:
        size: Channels, height, width in pixels.
        mean: Mean per channel, of images scaled to [0, 1].
        std: Standard deviation per channel, of images scaled to [0, 1].
        interpolation: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``.
        crop_pct: Share of the resized image's side that the centre crop keeps, in (0, 1].
    """

    size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
