"""What a finished model is used for: predictions from raw inputs, and files for other programs.

It knows models and preprocessing, and neither searches nor MLflow. The names below load on first
use, so that importing this room costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.on_demand import on_demand

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

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "export": ("EXPORT_FORMATS", "export_model"),
        "model_files": ("open_folder", "open_weights_file"),
        "prediction": ("Prediction",),
        "predictor": ("Predictor",),
        "requests": ("answer_request",),
        "sources": ("RawInput", "read_sources"),
    },
)
