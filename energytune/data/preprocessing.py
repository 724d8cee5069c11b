"""From a JSON description to what turns raw inputs into the network's, as the loaders do it.

Each family of datasets describes its preprocessing in ``Splits.preprocessing``; the description
travels inside a registered model. The arithmetic is the loaders' own, so that the same raw input
gives the same tensor, bit for bit.

``{"kind": "image", "geometry": ...}``
    8-bit images. ``"crop"``: the shorter side is resized and the centre cut out; ``"fit"``: the
    whole image, made smaller if need be and padded; ``"none"``: only scaled to [0, 1].
``{"kind": "pixels", ...}``
    Small square grey images, flat, such as scikit-learn's digits.
``{"kind": "smiles", ...}``
    Molecules.
``{}``
    Inputs come ready for the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from energytune.config import InputConfig
from energytune.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Preprocessing",
    "describe_images",
    "describe_pixels",
    "describe_smiles",
    "make_preprocessing",
]


class Preprocessing(Protocol):
    """Turns raw inputs into the network's."""

    @property
    def kind(self) -> str:
        """``"image"``, ``"pixels"``, ``"smiles"`` or ``"ready"``."""
        ...

    def prepare(self, raw: Any) -> Any:
        """Reads one raw input; what it returns is for :meth:`stack`.

        Raises:
            DataError: The input can't be used; the reason begins with "it" or "its".
        """
        ...

    def stack(self, prepared: Sequence[Any]) -> Tensor:
        """Returns the network's inputs, (N, ...) float32, of N >= 1 prepared ones."""
        ...


def describe_images(
    config: InputConfig | None, geometry: str, size: Sequence[int] | None = None
) -> dict[str, Any]:
    """Describes the preprocessing of 8-bit images.

    Args:
        config: Geometry and normalisation; None for ``"none"``.
        geometry: ``"crop"``, ``"fit"`` or ``"none"``.
        size: With ``"none"``: channels, height and width of the images.
    """
    values = {key: _plain(value) for key, value in asdict(config).items()} if config else {}
    if size is not None:
        values["size"] = [int(n) for n in size]
    return {"kind": "image", "geometry": geometry, **values}


def describe_pixels(
    side: int, max_value: float, mean: float, std: float, step: float
) -> dict[str, Any]:
    """Describes the preprocessing of small square grey images: (x / max - mean) / std, flat.

    Args:
        side: Height and width in pixels.
        max_value: Value of a full pixel; 0 is an empty one.
        mean: Subtracted after scaling to [0, 1].
        std: Divided by, > 0.
        step: Values of images that come as pictures are rounded to multiples of it.
    """
    return {
        "kind": "pixels",
        "side": side,
        "max_value": max_value,
        "mean": mean,
        "std": std,
        "step": step,
    }


def describe_smiles(n_slots: int, n_neighbours: int, vocabulary: str) -> dict[str, Any]:
    """Describes the preprocessing of molecules.

    Args:
        n_slots: Atoms to which molecules are padded; larger ones make their batch larger.
        n_neighbours: Columns for neighbours, as ``n_slots``.
        vocabulary: How atoms are numbered.
    """
    return {
        "kind": "smiles",
        "vocabulary": vocabulary,
        "n_slots": n_slots,
        "n_neighbours": n_neighbours,
    }


def make_preprocessing(
    description: Mapping[str, Any], input_shape: Sequence[int] | None = None
) -> Preprocessing:
    """Returns the preprocessing of a description.

    Args:
        description: ``Splits.preprocessing``; empty where inputs come ready.
        input_shape: Shape of one input of the network; checked where inputs come ready.

    Raises:
        ConfigError: The description is damaged, or of a later version of energytune.
    """
    values = dict(description)
    kind = values.pop("kind", "ready")
    try:
        return _MAKERS[kind](values, input_shape)
    except (KeyError, TypeError, ValueError) as failure:
        raise ConfigError(
            f"The preprocessing {dict(description)} can't be read: {type(failure).__name__}: "
            f"{failure}. The model may come from a later version of energytune: upgrade it."
        ) from failure


def _make_image(values: dict[str, Any], shape: Sequence[int] | None) -> Preprocessing:
    from energytune.data.input_images import ImageInputs

    geometry, size = values.pop("geometry"), tuple(values.pop("size"))
    if geometry == "none":
        return ImageInputs(None, geometry, size, **values)
    config = InputConfig(size, **{key: _frozen(value) for key, value in values.items()})
    return ImageInputs(config, geometry, size)


def _make_pixels(values: dict[str, Any], shape: Sequence[int] | None) -> Preprocessing:
    from energytune.data.input_images import PixelInputs

    return PixelInputs(**values)


def _make_smiles(values: dict[str, Any], shape: Sequence[int] | None) -> Preprocessing:
    from energytune.data.input_molecules import SmilesInputs

    return SmilesInputs(**values)


def _make_ready(values: dict[str, Any], shape: Sequence[int] | None) -> Preprocessing:
    from energytune.data.input_arrays import ReadyInputs

    return ReadyInputs(None if shape is None else tuple(shape), **values)


# each imports its own: describing a dataset loads neither Pillow nor RDKit
_MAKERS = {
    "image": _make_image,
    "pixels": _make_pixels,
    "smiles": _make_smiles,
    "ready": _make_ready,
}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
