"""Builds the folder of a registered model: safetensors, a JSON description, models-from-code.

Nothing is pickled, nothing is inferred: requirements and signature are given, and the input
example is a batch of two, so that building takes no forward pass and no download.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

from energytune.errors import TrackingError
from energytune.models import EMBEDDED_BACKBONES

__all__ = ["build_model_folder", "requirements"]

_MAX_EXAMPLE_VALUES = 20_000
"""Larger input examples are left out: an image of 224 x 224 is megabytes of JSON."""


def requirements(spec: Mapping[str, Any]) -> list[str]:
    """Returns the pinned packages that a model needs to be loaded and served."""
    names = ["energytune", "mlflow", "numpy", "safetensors", "torch"]
    if spec.get("backbone") not in EMBEDDED_BACKBONES:
        names += ["timm", "torchvision"]
    pinned = []
    for name in names:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # energytune used from a source tree
            pinned.append(name)
        else:
            pinned.append(f"{name}=={version.split('+')[0]}")
    return pinned


def build_model_folder(
    folder: Path,
    *,
    weights: Path,
    spec: Mapping[str, Any],
    input_shape: Sequence[int],
    description: Mapping[str, Any] | None = None,
    model_id: str | None = None,
    run_id: str | None = None,
) -> None:
    """Writes an MLflow model folder.

    Args:
        folder: A folder that does not exist yet.
        weights: safetensors state dict of the whole model.
        spec: What ``energytune.models.rebuild_model`` needs; JSON values, with ``n_outputs``.
        input_shape: Shape of one preprocessed sample: ``(C, H, W)`` or ``(64,)``.
        description: Further JSON values for the description: class names, recipe, protocol.
        model_id: MLflow's id of the logged model.
        run_id: MLflow's id of the run that made it.

    Raises:
        TrackingError: The weights are not there, or are no safetensors file.
    """
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise TrackingError(
            f"The winner's weights {weights} are not a safetensors file that exists; the model "
            "can't be registered. Run the search's confirmation again."
        )
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "description.json"
        content = {**(description or {}), "spec": dict(spec), "input_shape": list(input_shape)}
        told.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        # its own copy under a plain name: MLflow keeps the file's name
        stored = Path(scratch) / "model.safetensors"
        shutil.copyfile(weights, stored)
        example = np.zeros((2, *input_shape), dtype=np.float32)
        quiet = logging.getLogger("mlflow")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            mlflow.pyfunc.save_model(
                str(folder),
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"weights": str(stored), "description": str(told)},
                signature=_signature(input_shape, int(spec["n_outputs"])),
                input_example=example if example.size <= _MAX_EXAMPLE_VALUES else None,
                pip_requirements=requirements(spec),
                mlflow_model=Model(run_id=run_id, model_id=model_id),
            )
        finally:
            quiet.setLevel(level)


def _signature(input_shape: Sequence[int], n_outputs: int) -> ModelSignature:
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
        outputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, n_outputs), name="probs"),
                TensorSpec(np.dtype(np.int64), (-1,), name="label"),
            ]
        ),
        params=ParamSchema([ParamSpec("batch_size", "integer", 256)]),
    )
