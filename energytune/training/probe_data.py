"""What head probing reads: features and targets of the training and validation split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energytune.training.features import Features

__all__ = ["ProbeData"]


@dataclass(frozen=True)
class ProbeData:
    """Features and targets at one cut; the targets lie on the device of the features.

    Attributes:
        train: Features of the training split, N samples.
        train_targets: (N,) int64; (N, L) for multi-label, (N, *T) for per-pixel tasks.
        valid: Features of the validation split, M samples.
        valid_targets: The same for M samples.
    """

    train: Features
    train_targets: Tensor
    valid: Features
    valid_targets: Tensor

    @property
    def n_train(self) -> int:
        """Number of training samples, N."""
        return len(self.train_targets)

    @property
    def device(self) -> torch.device:
        """Where batches of features are given out."""
        return self.train.device
