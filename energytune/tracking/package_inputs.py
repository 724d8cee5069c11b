"""What a registered model takes: its signature and a small input example, by its preprocessing.

Images and SMILES are columns of text. The pixels of the embedded digits may be numbers or images,
which no stricter type of MLflow's allows than an array of objects; the model checks them itself.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from energytune.serving.input_names import INPUT_NAMES

__all__ = ["input_kind", "signature", "write_example"]

_MAX_EXAMPLE_VALUES = 20_000
"""Larger input examples are left out: an image of 224 x 224 is megabytes of JSON."""
_BATCH_SIZE = 32
_SMILES = ["CCO", "c1ccccc1O"]


def input_kind(description: Mapping[str, Any]) -> str:
    """Returns the kind of a model's preprocessing; ``"ready"`` where it has none."""
    return str((description.get("preprocessing") or {}).get("kind", "ready"))


def signature(description: Mapping[str, Any]) -> ModelSignature:
    """Returns the signature of a model.

    Args:
        description: As in its folder: ``spec``, ``input_shape``, ``metric``, ``preprocessing``.
    """
    return ModelSignature(
        inputs=_inputs(description),
        outputs=_outputs(description),
        params=ParamSchema([ParamSpec("batch_size", "integer", _BATCH_SIZE)]),
    )


def write_example(folder: Path, description: Mapping[str, Any]) -> dict[str, str] | None:
    """Writes an input example in the two forms that MLflow knows.

    Returns:
        What the ``MLmodel`` file says about it; None if it would be too large.
    """
    kind = input_kind(description)
    if kind in ("image", "smiles"):
        rows = [[_png(description)]] if kind == "image" else [[smiles] for smiles in _SMILES]
        values: Any = {"columns": [INPUT_NAMES[kind]], "data": rows}
        serving, about = (
            {"dataframe_split": values},
            {"type": "dataframe", "pandas_orient": "split"},
        )
    else:
        example = np.zeros((2, *description["input_shape"]), dtype=np.float32)
        if example.size > _MAX_EXAMPLE_VALUES:
            return None
        values = example.tolist()
        serving, about = {"inputs": values}, {"type": "ndarray"}
    (folder / "input_example.json").write_text(json.dumps(values))
    (folder / "serving_input_example.json").write_text(json.dumps(serving))
    return {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        **about,
    }


def _inputs(description: Mapping[str, Any]) -> Schema:
    kind = input_kind(description)
    if kind in ("image", "smiles"):
        return Schema([ColSpec("string", INPUT_NAMES[kind])])
    if kind == "pixels":
        return Schema([TensorSpec(np.dtype(object), (-1,), name=INPUT_NAMES[kind])])
    return Schema([TensorSpec(np.dtype(np.float32), (-1, *description["input_shape"]))])


def _outputs(description: Mapping[str, Any]) -> Schema:
    n_outputs = int(description["spec"]["n_outputs"])
    pixels = tuple(description["spec"].get("output_size") or ())
    if description.get("metric") == "miou":
        return Schema([TensorSpec(np.dtype(np.int64), (-1, *pixels), name="label")])
    label = (-1, n_outputs) if description.get("metric") == "roc_auc" else (-1,)
    return Schema(
        [
            TensorSpec(np.dtype(np.float32), (-1, n_outputs), name="probs"),
            TensorSpec(np.dtype(np.int64), label, name="label"),
            TensorSpec(np.dtype(object), (-1,), name="class_name"),
        ]
    )


def _png(description: Mapping[str, Any]) -> str:
    """Returns a PNG file in base64: dark grey, of a size that the model takes."""
    from PIL import Image

    preprocessing = description["preprocessing"]
    channels, height, width = preprocessing["size"]
    if preprocessing.get("geometry") != "none":
        height = width = 8
    file = io.BytesIO()
    mode, grey = ("L", 64) if channels == 1 else ("RGB", (64, 64, 64))
    Image.new(mode, (width, height), grey).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
