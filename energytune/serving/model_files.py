"""Opens a model from its files: a registered model's folder, or one exported file.

Weights are safetensors, what belongs to them is JSON: nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from energytune.errors import CheckpointError, EnergyTuneError
from energytune.json_text import parse_json, read_json
from energytune.serving.predictor import Predictor

__all__ = ["HEADER_KEY", "open_folder", "open_weights_file"]

HEADER_KEY = "energytune"
"""Key of the description in the header of an exported file."""


def open_folder(
    folder: Path, *, device: str | None = None, name: str = "", version: int | None = None
) -> Predictor:
    """Opens the folder of a registered model, as MLflow downloads it.

    Args:
        folder: Holds ``artifacts/description.json`` and ``artifacts/model.safetensors``.
        device: As :class:`Predictor` takes it.
        name: Name of the registered model.
        version: Its version.

    Raises:
        CheckpointError: A file is missing or damaged, or the weights are another network's.
        ConfigError: The description is not complete.
    """
    files = folder / "artifacts"
    try:
        description = read_json(files / "description.json")
        weights = load_file(files / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as failure:
        raise CheckpointError(
            f"The model {name or folder} can't be opened: {failure}. It was not registered by "
            "energytune, or its files are damaged."
        ) from failure
    return assemble(description, weights, device=device, name=name, version=version)


def open_weights_file(path: Path, *, device: str | None = None) -> Predictor:
    """Opens a file that ``energytune export --format safetensors`` has written.

    Raises:
        CheckpointError: It is no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        about = parse_json(header[HEADER_KEY])
        described = about["description"]
        weights = load_file(path)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as failure:
        raise CheckpointError(
            f"{path} is no model that energytune has exported ({type(failure).__name__}: "
            f"{failure}). Write one with `energytune export --format safetensors`."
        ) from failure
    return assemble(
        described,
        weights,
        device=device,
        name=str(about.get("name", "")),
        version=about.get("version"),
    )


def assemble(
    description: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    device: str | None = None,
    name: str = "",
    version: int | None = None,
) -> Predictor:
    """Builds the network of a description and loads its weights.

    Raises:
        CheckpointError: The weights are another network's.
        ConfigError: The description is not complete.
    """
    from energytune.models import rebuild_model

    spec = description.get("spec") if isinstance(description, Mapping) else None
    if not isinstance(spec, Mapping):
        raise CheckpointError(
            f"The description of {name or 'the model'} is damaged: it says no network. Register "
            "the model again."
        )
    try:
        model = rebuild_model(dict(spec))
    except EnergyTuneError:
        raise
    except Exception as failure:  # a number of no sense breaks a network anywhere
        raise CheckpointError(
            f"The description of {name or 'the model'} is damaged: {failure!r}. Register the model "
            "again."
        ) from failure
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as failure:
        raise CheckpointError(
            f"The weights of {name or 'the model'} are not those of its description: {failure}"
        ) from failure
    return Predictor(model, description, device=device, name=name, version=version)
