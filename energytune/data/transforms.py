"""From an image to the network's input, for evaluation and for training.

Both transforms take an image in any of these forms: a PIL image; a uint8 array, (H, W) or
(H, W, C); a uint8 tensor, (H, W) or (C, H, W). A floating-point array or tensor counts as
ready for the network and passes unchanged.

Evaluation is what timm does for its pretrained weights: resize the shorter side, cut out the
centre, normalise. Training is what [Ren2023]_, appendix B.2, does: resize, random crop, random
horizontal flip.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from energytune.config import InputConfig
from energytune.errors import ConfigError, DataError

__all__ = [
    "EvalTransform",
    "ImageTransform",
    "PixelTransform",
    "ScaleTransform",
    "TrainTransform",
    "as_picture",
    "finish_pixels",
    "is_ready",
    "normalise",
]

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
_MODES = {1: "L", 3: "RGB"}
_TRAIN_CROP_PCT = 0.875  # leaves room for a random crop where evaluation crops nothing


class ImageTransform(Protocol):
    """Makes a network input of an image."""

    @property
    def id(self) -> str:
        """Text that tells transforms apart; it enters the data's fingerprint."""
        ...

    def __call__(self, image: Any, rng: random.Random) -> Tensor:
        """Returns float32 (C, H, W).

        Args:
            image: As the module says.
            rng: Source of augmentation; deterministic transforms draw nothing.
        """
        ...


@runtime_checkable
class PixelTransform(Protocol):
    """A transform whose last steps, flip and normalisation, can be made elsewhere: on a GPU.

    ``finish_pixels`` of what ``pixels`` gives equals the transform itself, bit for bit, and is a
    quarter of the bytes on its way.
    """

    @property
    def config(self) -> InputConfig:
        """What the backbone expects."""
        ...

    def pixels(self, image: Any, rng: random.Random) -> tuple[Tensor, bool]:
        """Returns uint8 (C, H, W), and whether it is still to be flipped left to right.

        Args:
            image: As the module says, but not floating-point.
            rng: Source of augmentation, from which as much is drawn as by the transform.
        """
        ...


@dataclass(frozen=True)
class EvalTransform:
    """Resize, centre crop, normalise.

    Attributes:
        config: What the backbone expects.
    """

    config: InputConfig

    def __post_init__(self) -> None:
        _check(self.config)

    @property
    def id(self) -> str:
        """Names geometry and normalisation."""
        return f"eval-1 {self.config}"

    def __call__(self, image: Any, rng: random.Random) -> Tensor:
        """Returns float32 (C, H, W); draws nothing."""
        return _ready(image) if is_ready(image) else normalise(self.cropped(image), self.config)

    def pixels(self, image: Any, rng: random.Random) -> tuple[Tensor, bool]:
        """Returns uint8 (C, H, W) that needs no flip; draws nothing."""
        return _as_tensor(self.cropped(image)).contiguous(), False

    def cropped(self, image: Any) -> Image.Image:
        """Returns an 8-bit image resized and cropped, before it is normalised."""
        height, width = self.config.size[1:]
        resized = _resize(image, self.config, self.config.crop_pct)
        left = round((resized.width - width) / 2.0)
        top = round((resized.height - height) / 2.0)
        return resized.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class TrainTransform:
    """Resize, random crop, horizontal flip with probability 1/2, normalise.

    Attributes:
        config: What the backbone expects. The crop is taken from an image that is at least
            1 / 0.875 times as large.
    """

    config: InputConfig

    def __post_init__(self) -> None:
        _check(self.config)

    @property
    def id(self) -> str:
        """Names geometry and normalisation."""
        return f"train-1 {self.config}"

    def __call__(self, image: Any, rng: random.Random) -> Tensor:
        """Returns float32 (C, H, W), augmented as ``rng`` draws."""
        if is_ready(image):
            return _ready(image)
        cropped, is_flipped = self._draw(image, rng)
        if is_flipped:
            cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return normalise(cropped, self.config)

    def pixels(self, image: Any, rng: random.Random) -> tuple[Tensor, bool]:
        """Returns uint8 (C, H, W), cropped as ``rng`` draws, and whether it is to be flipped."""
        cropped, is_flipped = self._draw(image, rng)
        return _as_tensor(cropped).contiguous(), is_flipped

    def _draw(self, image: Any, rng: random.Random) -> tuple[Image.Image, bool]:
        height, width = self.config.size[1:]
        resized = _resize(image, self.config, min(self.config.crop_pct, _TRAIN_CROP_PCT))
        left = rng.randint(0, resized.width - width)
        top = rng.randint(0, resized.height - height)
        cropped = resized.crop((left, top, left + width, top + height))
        return cropped, rng.random() < 0.5


@dataclass(frozen=True)
class ScaleTransform:
    """Scales 8-bit images to [0, 1] and leaves all else to the user's own network."""

    @property
    def id(self) -> str:
        """Names the transform."""
        return "scale-1"

    def __call__(self, image: Any, rng: random.Random) -> Tensor:
        """Returns float32 (C, H, W); draws nothing."""
        if is_ready(image):
            return _ready(image)
        if isinstance(image, Tensor):
            pixels = image if image.ndim == 3 else image.unsqueeze(0)
        else:
            array = np.array(image if isinstance(image, np.ndarray) else _as_pil(image, None))
            pixels = torch.from_numpy(array if array.ndim == 3 else array[..., None])
            pixels = pixels.permute(2, 0, 1)
        return pixels.to(torch.float32).div_(255.0).contiguous()


def is_ready(image: Any) -> bool:
    """Returns whether ``image`` is floating-point, i.e. passes the transforms unchanged.

    Raises:
        DataError: It is no image at all.
    """
    if isinstance(image, Tensor):
        if image.dtype == torch.uint8 and image.ndim in (2, 3):
            return False
        if image.is_floating_point():
            return True
        kind = f"a tensor of {image.dtype} and shape {tuple(image.shape)}"
    elif isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim in (2, 3):
            return False
        if np.issubdtype(image.dtype, np.floating):
            return True
        kind = f"an array of {image.dtype} and shape {image.shape}"
    elif isinstance(image, Image.Image):
        return False
    else:
        kind = f"a {type(image).__name__}"
    raise DataError(
        "An image must be a PIL image, a uint8 array (H, W[, C]), a uint8 tensor ([C, ]H, W), or "
        f"floating-point and ready for the network; got {kind}."
    )


def _ready(image: Any) -> Tensor:
    return torch.as_tensor(image).to(torch.float32)


def _check(config: InputConfig) -> None:
    channels = config.size[0]
    if channels not in _MODES or min(config.size) < 1:
        raise ConfigError(
            f"Images of an input config must have 1 or 3 channels, got size = {config.size}."
        )
    if config.interpolation not in _RESAMPLING:
        raise ConfigError(
            f"interpolation must be one of {', '.join(_RESAMPLING)}, got {config.interpolation!r}."
        )
    if not 0.0 < config.crop_pct <= 1.0:
        raise ConfigError(f"crop_pct must lie in (0, 1], got {config.crop_pct:g}.")
    if len(config.mean) != channels or len(config.std) != channels or min(config.std) <= 0:
        raise ConfigError(
            f"mean and std need {channels} values, one a channel, and std values > 0; "
            f"got mean = {config.mean}, std = {config.std}."
        )


def as_picture(image: Any) -> Image.Image:
    """Returns an 8-bit image as Pillow's picture, of the mode in which it came.

    Args:
        image: A PIL image, or a uint8 array or tensor, as the module says.
    """
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        image = Image.fromarray(image)
    picture: Image.Image = image
    return picture


def _as_pil(image: Any, mode: str | None) -> Image.Image:
    picture = as_picture(image)
    if picture.mode.startswith(("I", "F")):  # Pillow would clip them to white without a word
        raise DataError(
            f"An image of mode {picture.mode!r} has more than 8 bits a channel. Scale it to 8 "
            "bits, or give a floating-point array that is ready for the network."
        )
    if mode is None:
        mode = "L" if picture.mode in ("1", "L") else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _resize(image: Any, config: InputConfig, crop_pct: float) -> Image.Image:
    """Resizes so that the image just covers size / crop_pct, keeping its aspect."""
    channels, height, width = config.size
    picture = _as_pil(image, _MODES[channels])
    goal_height, goal_width = math.floor(height / crop_pct), math.floor(width / crop_pct)
    if goal_height * picture.width >= goal_width * picture.height:
        size = (max(goal_width, int(goal_height * picture.width / picture.height)), goal_height)
    else:
        size = (goal_width, max(goal_height, int(goal_width * picture.height / picture.width)))
    if size == picture.size:
        return picture
    return picture.resize(size, _RESAMPLING[config.interpolation])


def normalise(picture: Image.Image, config: InputConfig) -> Tensor:
    """Returns (x / 255 - mean) / std of a picture in the config's mode, float32 (C, H, W)."""
    image = _as_tensor(picture).to(torch.float32, memory_format=torch.contiguous_format)
    return _normalised(image, config)


def finish_pixels(pixels: Tensor, flips: Tensor, config: InputConfig) -> Tensor:
    """Returns float32 (B, C, H, W) on the device of ``pixels``: normalised, some of them flipped.

    Args:
        pixels: uint8 (B, C, H, W), from :meth:`PixelTransform.pixels`.
        flips: (B,) bool, on the same device.
        config: Of the transform.
    """
    images = _normalised(pixels.to(torch.float32), config)
    return torch.where(flips.view(-1, 1, 1, 1), images.flip(-1), images)


def _as_tensor(picture: Image.Image) -> Tensor:
    """Returns a picture's bytes, uint8 (C, H, W), a view."""
    pixels = np.array(picture)
    image = torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None])
    return image.permute(2, 0, 1)


def _normalised(image: Tensor, config: InputConfig) -> Tensor:
    """Returns (x / 255 - mean) / std of float32 (..., C, H, W), in place."""
    mean = torch.tensor(config.mean, device=image.device).view(-1, 1, 1)
    std = torch.tensor(config.std, device=image.device).view(-1, 1, 1)
    return image.div_(255.0).sub_(mean).div_(std)
