"""What a task's score is called."""

from __future__ import annotations

__all__ = ["SCORE_NAMES"]

SCORE_NAMES = {"accuracy": "accuracy", "roc_auc": "ROC-AUC", "miou": "mIoU"}
"""What each ``Task.metric`` is called for a person."""
