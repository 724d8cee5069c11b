"""Raw images: to the network's input by the loaders' own transforms, and masks back again."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from energytune.config import InputConfig
from energytune.data.image_decoding import decode_image
from energytune.data.input_arrays import as_numbers
from energytune.data.joint_transforms import JointEval, fitted_size, restore_mask
from energytune.data.transforms import EvalTransform, ScaleTransform, as_picture, is_ready
from energytune.errors import DataError

__all__ = ["ImageInputs", "PixelInputs", "PreparedImage"]

_NO_DRAWS = random.Random(0)


@dataclass(frozen=True)
class PreparedImage:
    """One image.

    Attributes:
        pixels: The network's input, (C, H, W) float32.
        size: Width and height of the image as it came; None if it came ready.
    """

    pixels: Tensor
    size: tuple[int, int] | None


@dataclass(frozen=True)
class ImageInputs:
    """8-bit images: bytes of a file, paths, pictures, or uint8 arrays.

    A floating-point array counts as ready for the network, as everywhere.

    Attributes:
        config: Geometry and normalisation; None with ``"none"``.
        geometry: ``"crop"``, ``"fit"`` or ``"none"``.
        size: Channels, height and width of the network's inputs.

    Raises:
        ValueError: There is no such geometry.
        ConfigError: The config breaks a rule.
    """

    config: InputConfig | None
    geometry: str
    size: tuple[int, int, int]
    kind = "image"

    def __post_init__(self) -> None:
        if self.geometry not in ("crop", "fit", "none"):
            raise ValueError(f"unknown geometry {self.geometry!r}")
        if self.config is not None:
            EvalTransform(self.config)  # checks the rules

    def prepare(self, raw: Any) -> PreparedImage:
        """Returns the network's input of an image.

        Raises:
            DataError: It is no image, or of a size that the network does not take.
        """
        image = decode_image(raw)
        if is_ready(image):
            pixels, size = torch.as_tensor(image).to(torch.float32), None
            if not torch.isfinite(pixels).all():
                raise DataError("it holds NaN or infinity")
        else:
            picture = as_picture(image)
            size = picture.size
            pixels = self._pixels(picture)
        if tuple(pixels.shape) != self.size:
            raise DataError(
                f"it has the shape {tuple(pixels.shape)}, but this model takes {self.size} "
                "(channels, height, width)"
            )
        return PreparedImage(pixels, size)

    def stack(self, prepared: Sequence[PreparedImage]) -> Tensor:
        """Returns (N, C, H, W) float32."""
        return torch.stack([image.pixels for image in prepared])

    def pixels(self, raw: Any) -> NDArray[np.uint8]:
        """Returns an 8-bit image resized and cropped, (H, W, C), before it is scaled.

        This is what an exported model takes. With ``"fit"`` the padding is the mean colour rounded
        to 8 bits, where training has it exact.

        Raises:
            DataError: As :meth:`prepare`, or the image came ready.
        """
        image = decode_image(raw)
        if is_ready(image):
            raise DataError("it is ready for the network, not 8-bit")
        picture = as_picture(image)
        channels, height, width = self.size
        if self.config is None:
            cut = np.array(picture)
        elif self.geometry == "crop":
            cut = np.array(EvalTransform(self.config).cropped(picture))
        else:
            cut = np.array(JointEval(self.config).fitted(picture))
        cut = cut if cut.ndim == 3 else cut[..., None]
        if self.config is None:
            return cut
        filled = np.empty((height, width, channels), np.uint8)
        filled[:] = np.round(np.array(self.config.mean) * 255.0)
        filled[: cut.shape[0], : cut.shape[1]] = cut
        return filled

    def restore(self, mask: NDArray[Any], image: PreparedImage) -> NDArray[Any]:
        """Returns a mask, (H, W), as one of the image that came in: without what was padded."""
        if self.geometry != "fit" or self.config is None or image.size is None:
            return mask
        return restore_mask(mask, image.size, self.config)

    def covered(self, image: PreparedImage) -> tuple[int, int]:
        """Returns height and width of the part of the network's input that is not padding."""
        if self.geometry != "fit" or self.config is None or image.size is None:
            return self.size[1], self.size[2]
        width, height = fitted_size(image.size, self.config)
        return height, width

    def _pixels(self, picture: Image.Image) -> Tensor:
        if self.config is None:
            return ScaleTransform()(picture, _NO_DRAWS)
        if self.geometry == "fit":
            return JointEval(self.config).image(picture)
        return EvalTransform(self.config)(picture, _NO_DRAWS)


@dataclass(frozen=True)
class PixelInputs:
    """Small square grey images: numbers in [0, max_value], or pictures made so small.

    A picture becomes grey and is averaged down to the side; white is ``max_value``. So were
    scikit-learn's digits made: each number counts the ink of a square of 4 x 4. Light strokes on
    a dark ground are expected, as there.

    Attributes:
        side: Height and width in pixels.
        max_value: Value of a full pixel.
        mean: Subtracted after scaling to [0, 1].
        std: Divided by.
        step: Values of pictures are rounded to multiples of it.

    Raises:
        ValueError: A value breaks a rule.
    """

    side: int
    max_value: float
    mean: float
    std: float
    step: float
    kind = "pixels"

    def __post_init__(self) -> None:
        if not (self.side >= 1 and self.max_value > 0 and self.std > 0 and self.step > 0):
            raise ValueError("side, max_value, std and step must be positive")

    @cached_property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.side * self.side,), (self.side, self.side), (1, self.side, self.side)

    def prepare(self, raw: Any) -> Tensor:
        """Returns raw values, flat, (side * side,) float32.

        Raises:
            DataError: It is no image, of another size, or not within [0, max_value].
        """
        if isinstance(raw, (bytes, bytearray, memoryview, str, os.PathLike, Image.Image)):
            return self._of_picture(as_picture(decode_image(raw)))
        values = as_numbers(raw)
        if values.shape not in self._shapes:
            raise DataError(
                f"it has the shape {values.shape}, but must have {self.side * self.side} numbers "
                f"or {self.side} x {self.side}"
            )
        if values.min() < 0 or values.max() > self.max_value:
            raise DataError(
                f"its values go from {values.min():g} to {values.max():g}, but must be in "
                f"0..{self.max_value:g}. Send pixels as they are, not standardised"
            )
        return torch.from_numpy(values.reshape(-1).astype(np.float32))

    def stack(self, prepared: Sequence[Tensor]) -> Tensor:
        """Returns (N, side * side) float32, standardised."""
        return self.standardise(torch.stack(list(prepared)))

    def standardise(self, values: Tensor) -> Tensor:
        """Returns (x / max_value - mean) / std."""
        return (values.to(torch.float32) / self.max_value - self.mean) / self.std

    def _of_picture(self, picture: Image.Image) -> Tensor:
        grey = picture.convert("L").resize((self.side, self.side), Image.Resampling.BOX)
        values = np.array(grey, dtype=np.float64) * (self.max_value / 255.0)
        rounded = np.round(values / self.step) * self.step
        return torch.from_numpy(rounded.reshape(-1).astype(np.float32))
