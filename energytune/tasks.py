"""What a target is: its loss, its residual, its accuracy.

This is the only module that knows about softmax. Later targets (multi-label, segmentation,
regression) are further classes with the same methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

__all__ = ["Multiclass", "Task"]


class Task(Protocol):
    """Loss, residual and accuracy of one kind of target."""

    @property
    def n_outputs(self) -> int:
        """Width of the logits, K."""
        ...

    def probs(self, logits: Tensor) -> Tensor:
        """Returns predicted probabilities, (N, K)."""
        ...

    def soft_targets(
        self, targets: Tensor, label_smoothing: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Returns targets in the form of predictions, (N, K)."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Returns the mean training loss, a scalar."""
        ...

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Returns target minus prediction, (N, K)."""
        ...

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of correct predictions, a scalar int64."""
        ...

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per sample whether the prediction is correct, (N,) bool."""
        ...


@dataclass(frozen=True)
class Multiclass:
    """One of K classes per sample, softmax and cross-entropy.

    Attributes:
        n_classes: K >= 2.
    """

    n_classes: int

    @property
    def n_outputs(self) -> int:
        """Width of the logits, K."""
        return self.n_classes

    def probs(self, logits: Tensor) -> Tensor:
        """Returns softmax probabilities, (N, K), each row summing to 1."""
        return torch.softmax(logits, dim=-1)

    def soft_targets(
        self, targets: Tensor, label_smoothing: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Returns (1 - eps) one-hot + eps / K, (N, K), PyTorch's convention.

        Args:
            targets: Class indices, (N,) int64, in [0, K).
            label_smoothing: eps in [0, 1); 1 - eta of [Ren2023]_.
            dtype: Of the result, and of the arithmetic.
        """
        onehot = F.one_hot(targets, self.n_classes).to(dtype)
        return (1.0 - label_smoothing) * onehot + label_smoothing / self.n_classes

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Returns the mean cross-entropy in nats, a scalar.

        Args:
            logits: (N, K).
            targets: Class indices, (N,) int64.
            label_smoothing: eps in [0, 1).
        """
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Returns target minus probabilities, (N, K): e_y - p of [Ren2023]_, Eq. 2.

        Minus the gradient of the summed cross-entropy with respect to the logits.
        """
        return self.soft_targets(targets, label_smoothing, logits.dtype) - self.probs(logits)

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per sample whether the largest logit is the target's, (N,) bool."""
        return logits.argmax(dim=-1) == targets

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of correct samples, a scalar int64."""
        return self.correct(logits, targets).sum()
