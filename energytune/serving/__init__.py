"""What a finished model is used for: predictions from raw inputs, and files for other programs.

It knows models and preprocessing, and neither searches nor MLflow. The names below load on first
use, so that importing this room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energytune.serving.export import EXPORT_FORMATS, export_model
    from energytune.serving.model_files import open_folder, open_weights_file
    from energytune.serving.prediction import Prediction
    from energytune.serving.predictor import Predictor
    from energytune.serving.requests import answer_request
    from energytune.serving.sources import RawInput, read_sources

__all__ = [
    "EXPORT_FORMATS",
    "Prediction",
    "Predictor",
    "RawInput",
    "answer_request",
    "export_model",
    "open_folder",
    "open_weights_file",
    "read_sources",
]

_HOMES = {
    "EXPORT_FORMATS": "export",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "RawInput": "sources",
    "answer_request": "requests",
    "export_model": "export",
    "open_folder": "model_files",
    "open_weights_file": "model_files",
    "read_sources": "sources",
}


def __getattr__(name: str) -> Any:
    """Imports the module in which ``name`` lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
