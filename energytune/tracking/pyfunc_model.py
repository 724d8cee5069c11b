"""The model as MLflow serves it: models from code, weights from safetensors, no pickle.

This file is copied into each registered model and run when the model is loaded, so it stands
alone: it needs energytune installed, and nothing beside it but its two artifacts.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel


class EnergyTuneModel(PythonModel):
    """Predicts from raw inputs: images in base64, pixels, or SMILES."""

    def load_context(self, context: Any) -> None:
        """Rebuilds the network from its JSON description and loads its weights.

        ``ENERGYTUNE_DEVICE`` names the device; without it a GPU is taken if there is one.
        """
        from energytune.serving import open_folder

        weights = Path(context.artifacts["weights"])
        device = os.environ.get("ENERGYTUNE_DEVICE") or None
        self.predictor = open_folder(weights.parents[1], device=device)

    def predict(  # the plain np.ndarray hint keeps MLflow from warning that it can't use it
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Returns probabilities, labels and names, as ``energytune.serving.answer_request`` says.

        Args:
            context: Not used.
            model_input: What the signature says: base64 of image files in the column ``image``,
                SMILES in the column ``smiles``, pixels, or float32 that come ready.
            params: ``batch_size``, an int >= 1.

        Raises:
            MlflowException: An input can't be used (a server answers 400), or the model fails
                (500); without a stack trace, which would go to the client.
        """
        from energytune.errors import EnergyTuneError
        from energytune.serving import answer_request

        batch_size = int((params or {}).get("batch_size", 32))
        try:
            return answer_request(self.predictor, model_input, batch_size)
        except EnergyTuneError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        except Exception as error:
            told = f"The model failed: {type(error).__name__}. The server's log has more."
            logging.getLogger("energytune").exception("A request failed.")
            raise MlflowException(told, error_code=INTERNAL_ERROR) from error


mlflow.models.set_model(EnergyTuneModel())
