"""What every task can do: the protocols that the stages are written against.

One convention of shapes holds throughout. The class dimension of logits is dimension 1, as in
``torch.nn.functional.cross_entropy``: logits are (N, K), or (N, K, *T) where targets are
(N, *T). Heads that are trained side by side are further dimensions at the end: logits
(N, K, *T, M) are M heads on the same targets. What is one number for one head is then (M,).
"""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor

__all__ = ["Meter", "Smoothing", "Task"]

Smoothing = float | Tensor
"""Label smoothing eps in [0, 1): one for all heads, or a tensor of the shape of the heads, (M,)."""


class Meter(Protocol):
    """Accumulates the score of predictions that come in batches."""

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch; nothing of it is kept by reference.

        Args:
            logits: (N, K, *T), or (N, K, *T, M) for M heads; finite.
            targets: (N, *T); (N, L) for multi-label.
        """
        ...

    def merge(self, other: Self) -> None:
        """Adds all that another meter of the same kind has seen, wherever that lies."""
        ...

    def compute(self) -> Tensor:
        """Returns the score so far in [0, 1], higher is better: scalar or (M,), float64, CPU.

        Never NaN: each meter says what it returns where there is nothing to score.
        """
        ...


class Task(Protocol):
    """Loss, residual and score of one kind of target.

    The loss of a batch is the mean over its labelled entries: samples, label entries or pixels.
    Where nothing is labelled it is 0, with gradient 0.
    """

    @property
    def metric(self) -> str:
        """What the meter measures: ``"accuracy"``, ``"roc_auc"`` or ``"miou"``."""
        ...

    @property
    def n_outputs(self) -> int:
        """Width of the logits, K."""
        ...

    def probs(self, logits: Tensor) -> Tensor:
        """Returns predicted probabilities, of the shape of ``logits``."""
        ...

    def soft_targets(
        self,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Returns targets in the form of predictions, (N, K, *T), 0 where there is no label.

        A smoothing of shape (M,) gives (N, K, *T, M).
        """
        ...

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns the mean training loss in nats: scalar, or (M,) with heads."""
        ...

    def loss_gradient(
        self,
        logits: Tensor,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        out: Tensor | None = None,
    ) -> Tensor:
        """Returns d ``loss`` / d ``logits``, each head's loss by its own logits.

        Written without autograd and with as few passes over memory as possible.

        Args:
            logits: Contiguous for speed.
            targets: As for ``loss``.
            label_smoothing: As for ``loss``.
            out: Where the result is written, of the shape and dtype of ``logits``; it may be
                ``logits`` itself, which is then overwritten. None makes a new tensor.
        """
        ...

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns target minus prediction, of the shape of ``logits``, 0 where unlabelled."""
        ...

    def labelled(self, targets: Tensor) -> Tensor:
        """Returns which samples (pixels) have a label and so an energy, (N,) or (N, *T) bool."""
        ...

    def n_labelled(self, targets: Tensor) -> int:
        """Returns what ``loss`` is a mean over: the number of samples, label entries or pixels."""
        ...

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per sample (pixel) whether the prediction is right, (N, *T) or (N, *T, M) bool.

        False where there is no label.
        """
        ...

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of correct predictions, int64: scalar, or (M,) with heads."""
        ...

    def meter(self) -> Meter:
        """Returns a new, empty meter of ``metric``."""
        ...
