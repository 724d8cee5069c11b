"""Generated inputs on which an export is checked, raw and as an exported graph takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energytune.data.input_images import ImageInputs, PixelInputs
from energytune.data.input_molecules import SmilesInputs
from energytune.serving.predictor import Predictor

__all__ = ["Examples", "make_examples"]

_N_EXAMPLES = 4
_SMILES = ("CCO", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O", "N")


@dataclass(frozen=True)
class Examples:
    """Some inputs.

    Attributes:
        raw: As the original takes them.
        tensor: The same as a graph takes them, (N, ...).
        name: Name of the graph's input.
        takes: What it takes and gives, a sentence.
    """

    raw: tuple[Any, ...]
    tensor: NDArray[Any]
    name: str
    takes: str

    def single(self) -> Iterator[Examples]:
        """Yields the inputs one by one."""
        for index in range(len(self.raw)):
            part = slice(index, index + 1)
            yield replace(self, raw=self.raw[part], tensor=self.tensor[part])


def make_examples(predictor: Predictor) -> Examples:
    """Returns inputs that the model takes: noise of several contrasts, or a few molecules."""
    rng = np.random.default_rng(0)
    inputs = predictor.preprocessing
    gives = {
        "classes": "probs float32 (N, K), each row summing to 1",
        "labels": "probs float32 (N, K), one probability a label",
        "pixels": "probs float32 (N, K, H, W), summing to 1 over K",
    }[predictor.kind]
    if isinstance(inputs, ImageInputs):
        return _images(inputs, rng, gives)
    if isinstance(inputs, PixelInputs):
        shape = (_N_EXAMPLES, inputs.side * inputs.side)
        values = rng.uniform(0.0, inputs.max_value, shape).astype(np.float32)
        takes = f"pixels float32 (N, {shape[1]}) in 0..{inputs.max_value:g} -> {gives}"
        return Examples(tuple(values), values, "pixels", takes)
    if isinstance(inputs, SmilesInputs):
        prepared = [inputs.prepare(smiles) for smiles in _SMILES]
        dense = inputs.stack(prepared).numpy()
        takes = (
            f"molecules float32 (N, {dense.shape[1]}, {dense.shape[2]}): atoms and neighbours as "
            f"energytune lays them out -> {gives}"
        )
        return Examples(_SMILES, dense, "molecules", takes)
    shape = (_N_EXAMPLES, *(predictor.description.get("input_shape") or ()))
    ready = rng.standard_normal(shape).astype(np.float32)
    takes = f"inputs float32 (N, {', '.join(map(str, shape[1:]))}), ready for the network"
    return Examples(tuple(ready), ready, "inputs", f"{takes} -> {gives}")


def _images(inputs: ImageInputs, rng: np.random.Generator, gives: str) -> Examples:
    channels, height, width = inputs.size
    # where images are cropped the raw ones are larger, so that the whole way is compared
    more = (13, 7) if inputs.geometry == "crop" else (0, 0)
    raw = []
    for contrast in np.linspace(0.2, 1.0, _N_EXAMPLES):
        noise = rng.uniform(0.0, 255.0 * contrast, (height + more[0], width + more[1], channels))
        ramp = np.linspace(0.0, 255.0 * (1.0 - contrast), width + more[1])[None, :, None]
        raw.append((noise + ramp).astype(np.uint8))
    tensor = np.stack([inputs.pixels(image) for image in raw])
    takes = (
        f"image uint8 (N, {height}, {width}, {channels}), resized and cropped as the metadata "
        f"says -> {gives}"
    )
    return Examples(tuple(raw), tensor, "image", takes)
