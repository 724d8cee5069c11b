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

from mlflow.models import Model

from energytune.errors import TrackingError
from energytune.models.embedded import EMBEDDED_BACKBONES
from energytune.tracking.package_inputs import input_kind, signature, write_example

__all__ = ["build_model_folder", "requirements"]

_PACKAGES_OF_INPUTS = {"image": ["pillow"], "pixels": ["pillow"], "smiles": ["rdkit"]}


def requirements(spec: Mapping[str, Any], input_kind: str = "ready") -> list[str]:
    """Returns the pinned packages that a model needs to be loaded and served.

    Args:
        spec: What ``energytune.models.rebuild_model`` needs.
        input_kind: Kind of its preprocessing.
    """
    names = ["energytune", "mlflow", "numpy", "safetensors", "torch"]
    if spec.get("backbone") not in EMBEDDED_BACKBONES:
        names += ["timm", "torchvision"]
    elif str(spec.get("backbone")).startswith("gcn"):
        names += ["torch-geometric"]
    names += _PACKAGES_OF_INPUTS.get(input_kind, [])
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
        description: Further JSON values for the description: class names, preprocessing,
            recipe, protocol, metric. Without preprocessing inputs come ready for the network.
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
    model.signature = signature(content)
    if example := write_example(folder, content):
        model.saved_input_example_info = example
    model.add_flavor(
        "python_function",
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=code.name,
        python_version=platform.python_version(),
        env=_write_environment(folder, requirements(spec, input_kind(content))),
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
