"""Builds the folder of a registered model: safetensors, a JSON description, models-from-code.

The folder is written in MLflow's documented format with its public ``Model`` class. Its own
``save_model`` gives the same files, but scans every installed package on the way to compare
versions, which cost more CPU (1.5 s) than all other registering together. Nothing is pickled and
nothing inferred: requirements, signature and a small input example are given.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    elif str(spec.get("backbone")).startswith("gcn"):
        names += ["torch-geometric"]
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
        input_shape: Shape of one preprocessed sample: ``(C, H, W)``, ``(64,)`` or
            ``(S, F)``.
        description: Further JSON values for the description: class names, recipe, protocol,
            metric.
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
    files = folder / "artifacts"
    files.mkdir(parents=True)
    shutil.copyfile(weights, files / "model.safetensors")
    content = {**(description or {}), "spec": dict(spec), "input_shape": list(input_shape)}
    told = json.dumps(content, indent=1, sort_keys=True)
    (files / "description.json").write_text(told, encoding="utf-8")
    code = Path(__file__).with_name("pyfunc_model.py")
    shutil.copyfile(code, folder / code.name)

    model = Model(run_id=run_id, model_id=model_id)
    model.signature = _signature(input_shape, spec, str(content.get("metric", "accuracy")))
    if example := _write_example(folder, input_shape):
        model.saved_input_example_info = example
    model.add_flavor(
        "python_function",
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=code.name,
        python_version=platform.python_version(),
        env=_write_environment(folder, requirements(spec)),
        artifacts={
            name: {"path": f"artifacts/{file}", "uri": file}
            for name, file in (
                ("weights", "model.safetensors"),
                ("description", "description.json"),
            )
        },
        streamable=False,
        code=None,
    )
    model.save(str(folder / "MLmodel"))


def _write_example(folder: Path, input_shape: Sequence[int]) -> dict[str, str] | None:
    """Writes a batch of two zeros as MLflow's input example, unless it is too large."""
    example = np.zeros((2, *input_shape), dtype=np.float32)
    if example.size > _MAX_EXAMPLE_VALUES:
        return None
    values = example.tolist()
    (folder / "input_example.json").write_text(json.dumps(values))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": values}))
    return {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "ndarray",
    }


def _write_environment(folder: Path, pinned: Sequence[str]) -> dict[str, str]:
    """Writes the requirements in the three forms that MLflow's servers read."""
    python = platform.python_version()
    (folder / "requirements.txt").write_text("\n".join(pinned) + "\n")
    (folder / "python_env.yaml").write_text(
        f"python: {python}\nbuild_dependencies:\n- pip\n- setuptools\n- wheel\n"
        "dependencies:\n- -r requirements.txt\n"
    )
    lines = "".join(f"  - {name}\n" for name in pinned)
    (folder / "conda.yaml").write_text(
        f"name: mlflow-env\nchannels:\n- conda-forge\ndependencies:\n- python={python}\n- pip\n"
        f"- pip:\n{lines}"
    )
    return {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}


def _signature(input_shape: Sequence[int], spec: Mapping[str, Any], metric: str) -> ModelSignature:
    n_outputs, pixels = int(spec["n_outputs"]), tuple(spec.get("output_size") or ())
    label = (-1, n_outputs) if metric == "roc_auc" else (-1, *pixels)
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
        outputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, n_outputs, *pixels), name="probs"),
                TensorSpec(np.dtype(np.int64), label, name="label"),
            ]
        ),
        params=ParamSchema([ParamSpec("batch_size", "integer", 256)]),
    )
