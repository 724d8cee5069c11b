"""From an image and its mask to the network's input and target, moved alike.

A transform takes a PIL image and a mask of the same height and width; what it does to one it
does to the other. Images are resampled as the backbone wants, masks take the nearest pixel. What
lies outside an image is the mean colour, 0 after normalisation, and has no label, 255.

Evaluation scores whole images: those that fit the size are padded at the right and the bottom
and not resized; larger ones are first made smaller, keeping their aspect, until they fit. The
score of such an image is then one of its smaller mask.

Training is what [Chen2017]_ does: random scale, random crop, random horizontal flip.

.. [Chen2017] L.-C. Chen, G. Papandreou, F. Schroff, H. Adam. Rethinking atrous convolution for
   semantic image segmentation. arXiv:1706.05587, 2017.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from energytune.config import InputConfig
from energytune.data.transforms import EvalTransform, normalise

__all__ = [
    "UNLABELLED",
    "JointEval",
    "JointTrain",
    "JointTransform",
    "fits",
    "fitted_size",
    "restore_mask",
]

UNLABELLED = 255
"""Value of a pixel without a label."""

_MODES = {1: "L", 3: "RGB"}
_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
_SCALES = (0.5, 2.0)


class JointTransform(Protocol):
    """Makes a network input and a target of an image and its mask."""

    @property
    def id(self) -> str:
        """Text that tells transforms apart; it enters the data's fingerprint."""
        ...

    def __call__(
        self, image: Image.Image, mask: Image.Image, rng: random.Random
    ) -> tuple[Tensor, Tensor]:
        """Returns image (C, H, W) float32 and mask (H, W) uint8.

        Args:
            image: Of any mode.
            mask: Class indices, of mode ``"L"`` and the size of ``image``.
            rng: Source of augmentation; deterministic transforms draw nothing.
        """
        ...


@dataclass(frozen=True)
class JointEval:
    """The whole image, padded to the size; made smaller first if it does not fit.

    Attributes:
        config: What the backbone expects; its ``crop_pct`` is not used.

    Raises:
        ConfigError: If the config is not one of images.
    """

    config: InputConfig

    def __post_init__(self) -> None:
        EvalTransform(self.config)  # the same rules

    @property
    def id(self) -> str:
        """Names geometry and normalisation."""
        return f"pixels-eval-1 {self.config}"

    def __call__(
        self, image: Image.Image, mask: Image.Image, rng: random.Random
    ) -> tuple[Tensor, Tensor]:
        """Returns image (C, H, W) float32 and mask (H, W) uint8; draws nothing."""
        return self.image(image), self.mask(mask)

    def image(self, image: Image.Image) -> Tensor:
        """Returns the image (C, H, W) float32 without a look at a mask."""
        return _padded(normalise(self.fitted(image), self.config), self.config, 0.0)

    def fitted(self, image: Image.Image) -> Image.Image:
        """Returns the image made to fit, before it is normalised and padded."""
        return _resized_image(image, fitted_size(image.size, self.config), self.config)

    def mask(self, mask: Image.Image) -> Tensor:
        """Returns the mask (H, W) uint8 without a look at its image."""
        small = _as_indices(_resized_mask(mask, fitted_size(mask.size, self.config)))
        return _padded(small, self.config, UNLABELLED)


@dataclass(frozen=True)
class JointTrain:
    """Random scale of 0.5 to 2, random crop of the size, horizontal flip with probability 1/2.

    The scale is relative to the image as evaluation sees it, before padding.

    Attributes:
        config: What the backbone expects; its ``crop_pct`` is not used.

    Raises:
        ConfigError: If the config is not one of images.
    """

    config: InputConfig

    def __post_init__(self) -> None:
        EvalTransform(self.config)  # the same rules

    @property
    def id(self) -> str:
        """Names geometry and normalisation."""
        return f"pixels-train-1 {self.config}"

    def __call__(
        self, image: Image.Image, mask: Image.Image, rng: random.Random
    ) -> tuple[Tensor, Tensor]:
        """Returns image (C, H, W) float32 and mask (H, W) uint8, augmented as ``rng`` draws."""
        scale = rng.uniform(*_SCALES)
        fitted = fitted_size(image.size, self.config)
        size = max(1, round(fitted[0] * scale)), max(1, round(fitted[1] * scale))
        height, width = self.config.size[1:]
        left = rng.randint(0, max(0, size[0] - width))
        top = rng.randint(0, max(0, size[1] - height))
        flip = rng.random() < 0.5
        box = (left, top, min(left + width, size[0]), min(top + height, size[1]))
        picture = _resized_image(image, size, self.config).crop(box)
        labels = _resized_mask(mask, size).crop(box)
        if flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            labels = labels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = normalise(picture, self.config)
        return (
            _padded(pixels, self.config, 0.0),
            _padded(_as_indices(labels), self.config, UNLABELLED),
        )


def fits(size: tuple[int, int], config: InputConfig) -> bool:
    """Returns whether an image of that width and height is evaluated as it is, only padded."""
    return fitted_size(size, config) == size


def restore_mask(
    mask: NDArray[Any], size: tuple[int, int], config: InputConfig
) -> NDArray[np.uint8]:
    """Undoes :class:`JointEval` on a predicted mask: cuts off what was padded, resizes back.

    Args:
        mask: Class indices below 256, (H, W), of the config's size.
        size: Width and height of the image as it came.
        config: Of the transform.

    Returns:
        (height, width) of the image, each pixel the nearest one's class.
    """
    width, height = fitted_size(size, config)
    cut = Image.fromarray(np.ascontiguousarray(mask[:height, :width].astype(np.uint8)))
    return np.array(_resized_mask(cut, size), dtype=np.uint8)


def fitted_size(size: tuple[int, int], config: InputConfig) -> tuple[int, int]:
    """Returns width and height of an image after it is made to fit; never larger than before."""
    height, width = config.size[1:]
    scale = min(1.0, width / size[0], height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized_image(image: Image.Image, size: tuple[int, int], config: InputConfig) -> Image.Image:
    picture = image.convert(_MODES[config.size[0]])
    if size == picture.size:
        return picture
    return picture.resize(size, _RESAMPLING[config.interpolation])


def _resized_mask(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    return mask if size == mask.size else mask.resize(size, Image.Resampling.NEAREST)


def _as_indices(mask: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(mask, dtype=np.uint8))


def _padded(values: Tensor, config: InputConfig, fill: float) -> Tensor:
    """Returns (..., h, w) with ``fill`` at the right and the bottom up to the config's size."""
    height, width = config.size[1:]
    missing = (0, width - values.shape[-1], 0, height - values.shape[-2])
    return F.pad(values, missing, value=fill) if any(missing) else values
