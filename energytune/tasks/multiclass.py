"""One of K classes per sample: softmax, cross-entropy, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.tasks.base import Smoothing
from energytune.tasks.masks import align_heads
from energytune.tasks.meters import AccuracyMeter
from energytune.tasks.scores import largest_class
from energytune.tasks.softmax import (
    cross_entropy_of_heads,
    pull_at_label,
    smooth_one_hot,
    softmax_of_classes,
    subtract_uniform,
)

__all__ = ["Multiclass"]


@dataclass(frozen=True)
class Multiclass:
    """One of K classes per sample, softmax and cross-entropy; every sample has a label.

    Attributes:
        n_classes: K >= 2.
    """

    n_classes: int

    @property
    def metric(self) -> str:
        """``"accuracy"``: the share of samples whose largest logit is the target's."""
        return "accuracy"

    @property
    def n_outputs(self) -> int:
        """Width of the logits, K."""
        return self.n_classes

    def probs(self, logits: Tensor) -> Tensor:
        """Returns softmax probabilities, (N, K) or (N, K, M), summing to 1 over the classes."""
        return torch.softmax(logits, dim=1)

    def soft_targets(
        self,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Returns (1 - eps) one-hot + eps / K, (N, K), PyTorch's convention.

        Args:
            targets: Class indices, (N,) int64, in [0, K).
            label_smoothing: eps in [0, 1); 1 - eta of [Ren2023]_. A tensor (M,) gives (N, K, M).
            dtype: Of the result, and of the arithmetic.
        """
        return smooth_one_hot(targets, self.n_classes, label_smoothing, dtype)

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns the mean cross-entropy in nats: scalar, or (M,) for logits (N, K, M).

        Args:
            logits: (N, K), or (N, K, M) for M heads.
            targets: Class indices, (N,) int64.
            label_smoothing: eps in [0, 1), or one a head, (M,).
        """
        if len(targets) == 0:
            return logits.sum(dim=(0, 1))
        if logits.ndim == 2 and not isinstance(label_smoothing, Tensor):
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        return cross_entropy_of_heads(logits, targets, label_smoothing).mean(dim=0)

    def loss_gradient(
        self,
        logits: Tensor,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        out: Tensor | None = None,
    ) -> Tensor:
        """Returns (p - t) / N, the gradient of each head's ``loss``, of the shape of ``logits``.

        The softmax, one pass that scales and takes off eps / K, and the N labels: there is no
        dense one-hot target.

        Args:
            logits: (N, K) or (N, K, M).
            targets: Class indices, (N,) int64.
            label_smoothing: eps in [0, 1), or one a head, (M,).
            out: Written to; may be ``logits`` itself.
        """
        probs = softmax_of_classes(logits.detach(), out)
        scaled, at_label = subtract_uniform(probs, label_smoothing, 1.0 / max(len(targets), 1))
        return pull_at_label(scaled, targets, at_label)

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns target minus probabilities: e_y - p of [Ren2023]_, Eq. 2.

        Minus the gradient of the summed cross-entropy with respect to the logits, of the shape
        of ``logits``.
        """
        soft = self.soft_targets(targets, label_smoothing, logits.dtype)
        return align_heads(soft, logits.ndim) - self.probs(logits)

    def labelled(self, targets: Tensor) -> Tensor:
        """Returns True for every sample, (N,) bool."""
        return torch.ones_like(targets, dtype=torch.bool)

    def n_labelled(self, targets: Tensor) -> int:
        """Returns the number of samples, N."""
        return len(targets)

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per sample whether the largest logit is the target's, (N,) or (N, M) bool."""
        return largest_class(logits) == align_heads(targets, logits.ndim - 1)

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of correct samples, int64: scalar, or (M,)."""
        return self.correct(logits, targets).sum(dim=0)

    def meter(self) -> AccuracyMeter:
        """Returns a new meter of the accuracy."""
        return AccuracyMeter(self)
