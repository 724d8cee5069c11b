"""Writes a program of ``torch.export``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from energytune.serving.examples import Examples
from energytune.serving.export_graph import describe_export, trace
from energytune.serving.predictor import Predictor

__all__ = ["METADATA_FILE", "write_torch"]

METADATA_FILE = "energytune.json"
"""The extra file in the archive that holds the metadata."""


def write_torch(predictor: Predictor, examples: Examples, path: Path) -> Callable[[Examples], Any]:
    """Writes the file and returns what predicts with it.

    Raises:
        ConfigError: The network can't be traced.
    """
    program = trace(predictor, examples)
    about = describe_export(predictor, examples)
    torch.export.save(program, path, extra_files={METADATA_FILE: about})
    loaded = torch.export.load(path).module()

    def predict(examples: Examples) -> Any:
        with torch.inference_mode():
            return loaded(torch.from_numpy(examples.tensor)).numpy()

    return predict
