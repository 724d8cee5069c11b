"""Writes weights and description into one safetensors file, which energytune opens again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from energytune.serving.examples import Examples
from energytune.serving.model_files import HEADER_KEY, open_weights_file
from energytune.serving.predictor import Predictor

__all__ = ["write_safetensors"]


def write_safetensors(
    predictor: Predictor, examples: Examples, path: Path
) -> Callable[[Examples], Any]:
    """Writes the file and returns what predicts with it."""
    about = {
        "name": predictor.name,
        "version": predictor.version,
        "description": predictor.description,
    }
    weights = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in predictor.model.state_dict().items()
    }
    save_file(weights, path, metadata={"format": "pt", HEADER_KEY: json.dumps(about)})
    loaded = open_weights_file(path, device="cpu")

    def predict(examples: Examples) -> Any:
        return loaded.predict_probs(examples.raw)

    return predict
