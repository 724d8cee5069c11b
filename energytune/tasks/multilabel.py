"""Several yes-or-no labels of a sample, some of them missing: sigmoid, BCE, mean ROC-AUC."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.tasks.base import Smoothing
from energytune.tasks.masks import align_heads, mean_weight
from energytune.tasks.meters import RocAucMeter

__all__ = ["MultiLabel"]


@dataclass(frozen=True)
class MultiLabel:
    """L yes-or-no labels per sample, sigmoid and binary cross-entropy.

    Targets are (N, L) of any number type: 1 for yes, 0 for no, NaN or a negative number for a
    label that is missing. The loss is averaged over the labels of the batch that are there, as
    ogb does, so that a sample with many labels weighs more than one with few.

    Attributes:
        n_labels: L >= 1.
    """

    n_labels: int

    @property
    def metric(self) -> str:
        """``"roc_auc"``: mean area under the ROC curve over labels with both classes."""
        return "roc_auc"

    @property
    def n_outputs(self) -> int:
        """Width of the logits, L."""
        return self.n_labels

    def probs(self, logits: Tensor) -> Tensor:
        """Returns the sigmoid of each logit, (N, L) or (N, L, M)."""
        return torch.sigmoid(logits)

    def soft_targets(
        self,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Returns (1 - eps) y + eps / 2, (N, L), and 0 for a missing label.

        Args:
            targets: (N, L).
            label_smoothing: eps in [0, 1). A tensor (M,) gives (N, L, M).
            dtype: Of the result, and of the arithmetic.
        """
        known, yes = _known(targets).to(dtype), (targets > 0).to(dtype)
        if isinstance(label_smoothing, Tensor):
            label_smoothing = label_smoothing.to(yes)
            known, yes = (align_heads(x, x.ndim + label_smoothing.ndim) for x in (known, yes))
        return ((1.0 - label_smoothing) * yes + 0.5 * label_smoothing) * known

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns the mean binary cross-entropy in nats: scalar, or (M,) for M heads.

        Args:
            logits: (N, L), or (N, L, M) for M heads.
            targets: (N, L).
            label_smoothing: eps in [0, 1), or one a head, (M,).
        """
        soft = align_heads(self.soft_targets(targets, label_smoothing, logits.dtype), logits.ndim)
        weight = align_heads(mean_weight(_known(targets), logits.dtype), logits.ndim)
        losses = F.binary_cross_entropy_with_logits(
            logits, soft.expand_as(logits), reduction="none"
        )
        return (losses * weight).sum(dim=(0, 1))

    def loss_gradient(
        self,
        logits: Tensor,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        out: Tensor | None = None,
    ) -> Tensor:
        """Returns (p - t) / n at the n labels, else 0: the gradient of each head's ``loss``.

        Args:
            logits: (N, L) or (N, L, M).
            targets: (N, L).
            label_smoothing: eps in [0, 1), or one a head, (M,).
            out: Written to; may be ``logits`` itself.
        """
        probs = torch.sigmoid(logits.detach(), out=out)
        soft = align_heads(self.soft_targets(targets, label_smoothing, probs.dtype), probs.ndim)
        weight = align_heads(mean_weight(_known(targets), probs.dtype), probs.ndim)
        return probs.sub_(soft).mul_(weight)

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns y - sigmoid(q) at the labels that are there, else 0; the shape of ``logits``."""
        soft = align_heads(self.soft_targets(targets, label_smoothing, logits.dtype), logits.ndim)
        known = align_heads(_known(targets).to(logits.dtype), logits.ndim)
        return (soft - self.probs(logits)) * known

    def labelled(self, targets: Tensor) -> Tensor:
        """Returns which samples have at least one label, (N,) bool."""
        return _known(targets).any(dim=1)

    def n_labelled(self, targets: Tensor) -> int:
        """Returns the number of labels that are there, at most N L."""
        return int(_known(targets).sum())

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per sample whether every label it has is predicted, (N,) or (N, M) bool.

        Yes is predicted where the probability is above 0.5; a tie is a no.
        """
        known = align_heads(_known(targets), logits.ndim)
        right = (logits > 0) == align_heads(targets > 0, logits.ndim)
        return (right | ~known).all(dim=1) & known.any(dim=1)

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of samples with all labels right, int64: scalar, or (M,)."""
        return self.correct(logits, targets).sum(dim=0)

    def meter(self) -> RocAucMeter:
        """Returns a new meter of the mean ROC-AUC."""
        return RocAucMeter()


def _known(targets: Tensor) -> Tensor:
    """Returns where there is a label; NaN compares as False."""
    return targets >= 0
