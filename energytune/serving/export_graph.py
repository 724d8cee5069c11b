"""The graph that is exported: scaling and normalisation, the network, probabilities."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from energytune.data.input_images import ImageInputs, PixelInputs
from energytune.errors import ConfigError
from energytune.models.gcn_dense import traceable
from energytune.serving.examples import Examples
from energytune.serving.predictor import Predictor

__all__ = ["ExportGraph", "describe_export", "trace"]

_RESIZING = {
    "crop": "resize the shorter side with Pillow to cover size / crop_pct, cut out the centre",
    "fit": "make the whole image fit the size with Pillow, keeping its aspect; pad right and "
    "bottom with the mean colour",
    "none": "images must be of this size",
}


class ExportGraph(nn.Module):
    """Raw tensors to probabilities.

    Args:
        predictor: The model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = traceable(predictor.model)
        self._inputs = predictor.preprocessing
        self._is_multilabel = predictor.kind == "labels"
        config = self._inputs.config if isinstance(self._inputs, ImageInputs) else None
        self.register_buffer("mean", torch.tensor(config.mean if config else [0.0]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(config.std if config else [1.0]).view(-1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns probabilities, (N, K) or (N, K, H, W) float32."""
        if isinstance(self._inputs, ImageInputs):
            inputs = inputs.permute(0, 3, 1, 2).to(torch.float32) / 255.0
            inputs = (inputs - self.mean) / self.std
        elif isinstance(self._inputs, PixelInputs):
            inputs = self._inputs.standardise(inputs)
        logits = self.network(inputs)
        return torch.sigmoid(logits) if self._is_multilabel else torch.softmax(logits, dim=1)


def trace(predictor: Predictor, examples: Examples) -> Any:
    """Returns a program of ``torch.export`` with a free number of inputs.

    Raises:
        ConfigError: The network can't be traced.
    """
    graph = ExportGraph(predictor).eval()
    # molecules also differ in atoms and neighbours
    n_free = examples.tensor.ndim if predictor.preprocessing.kind == "smiles" else 1
    free = (dict.fromkeys(range(n_free), torch.export.Dim.DYNAMIC),)
    try:
        with torch.no_grad():
            program = torch.export.export(
                graph, (torch.from_numpy(examples.tensor),), dynamic_shapes=free
            )
    except Exception as failure:  # torch's tracer raises errors of many kinds
        backbone = (predictor.description.get("spec") or {}).get("backbone")
        first = (str(failure).strip() or type(failure).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"The network {backbone!r} can't be traced by torch.export: {first}. Use --format "
            "safetensors, which keeps the weights and needs energytune to run."
        ) from failure
    # they would be written as a pickle, and nobody needs them
    program.example_inputs = None
    return program


def describe_export(predictor: Predictor, examples: Examples) -> str:
    """Returns the metadata of an exported file, JSON."""
    inputs = predictor.preprocessing
    description = dict(predictor.description)
    about = {
        "model": predictor.name,
        "version": predictor.version,
        "dataset": predictor.dataset,
        "takes": examples.takes,
        "class_names": list(predictor.class_names),
        "kind": predictor.kind,
        "preprocessing": description.get("preprocessing") or {},
        "recipe": predictor.recipe,
        "score": predictor.score,
    }
    if isinstance(inputs, ImageInputs):
        about["before"] = _RESIZING[inputs.geometry]
    return json.dumps(about)
