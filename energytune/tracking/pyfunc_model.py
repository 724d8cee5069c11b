"""The model as MLflow serves it: models from code, weights from safetensors, no pickle.

This file is copied into each registered model and run when the model is loaded, so it stands
alone: it needs energytune installed, and nothing beside it but its two artifacts.
"""

from __future__ import annotations

import json
from typing import Any

import mlflow.models
import numpy as np
from mlflow.pyfunc.model import PythonModel


class EnergyTuneModel(PythonModel):
    """Predicts class probabilities of preprocessed inputs."""

    def load_context(self, context: Any) -> None:
        """Rebuilds the network from its JSON description and loads its weights."""
        from safetensors.torch import load_file

        from energytune.models import rebuild_model

        with open(context.artifacts["description"], encoding="utf-8") as file:
            self.description = json.load(file)
        self.model = rebuild_model(self.description["spec"])
        self.model.load_state_dict(load_file(context.artifacts["weights"]))
        self.model.eval()

    def predict(  # the plain np.ndarray hint keeps MLflow from warning that it can't use it
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Returns probabilities and labels.

        Args:
            context: Not used.
            model_input: float32, preprocessed as in training: (N, C, H, W) images, (N, 64) for
                the embedded digits, or (N, S, F) molecules.
            params: ``batch_size``, an int.

        Returns:
            ``"probs"`` float32 (N, K), each row summing to 1, and ``"label"`` int64 (N,); for
            several yes-or-no labels both (N, L); for pixels (N, K, H, W) and (N, H, W).
        """
        import torch

        inputs = torch.from_numpy(np.array(model_input, dtype=np.float32))
        batch_size = int((params or {}).get("batch_size", 256))
        with torch.inference_mode():
            batches = [inputs[i : i + batch_size] for i in range(0, len(inputs), batch_size)]
            parts = [self._probs(self.model(batch)) for batch in batches]
        probs = torch.cat(parts).numpy() if len(inputs) else np.zeros((0, self._n_outputs()))
        label = probs > 0.5 if self._is_multilabel() else probs.argmax(1)
        return {"probs": probs.astype(np.float32), "label": label.astype(np.int64)}

    def _probs(self, logits: Any) -> Any:
        import torch

        return torch.sigmoid(logits) if self._is_multilabel() else torch.softmax(logits, dim=1)

    def _is_multilabel(self) -> bool:
        return bool(self.description.get("metric") == "roc_auc")

    def _n_outputs(self) -> int:
        return int(self.description["spec"]["n_outputs"])


mlflow.models.set_model(EnergyTuneModel())
