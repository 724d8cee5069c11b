"""One of K classes per pixel, some pixels without a label: softmax, cross-entropy, mIoU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.errors import ConfigError
from energytune.tasks.base import Smoothing
from energytune.tasks.masks import align_heads, mean_weight
from energytune.tasks.meters import IouMeter
from energytune.tasks.scores import largest_class
from energytune.tasks.softmax import (
    cross_entropy_of_heads,
    pull_at_label,
    smooth_one_hot,
    subtract_uniform,
)

__all__ = ["PerPixel"]


@dataclass(frozen=True)
class PerPixel:
    """One of K classes per pixel, softmax and cross-entropy over the labelled pixels.

    Targets are whole numbers in [0, K) or ``ignore_index``. They are images, (N, H, W) for logits
    (N, K, H, W), or rows of pixels, (R,) for logits (R, K); both may have heads at the end.

    Attributes:
        n_classes: K >= 2, the background included.
        ignore_index: Target of a pixel without a label; not in [0, K).

    Raises:
        ConfigError: If ``ignore_index`` is a class.
    """

    n_classes: int
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if 0 <= self.ignore_index < self.n_classes:
            raise ConfigError(
                f"ignore_index must not be one of the {self.n_classes} classes, got "
                f"{self.ignore_index}. Take a negative number or one from {self.n_classes} on."
            )

    @property
    def metric(self) -> str:
        """``"miou"``: mean intersection over union, over the classes that occur."""
        return "miou"

    @property
    def n_outputs(self) -> int:
        """Width of the logits, K."""
        return self.n_classes

    def probs(self, logits: Tensor) -> Tensor:
        """Returns softmax probabilities, of the shape of ``logits``, summing to 1 over dim 1."""
        return torch.softmax(logits, dim=1)

    def soft_targets(
        self,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Returns (1 - eps) one-hot + eps / K, (N, K, *T), and 0 for a pixel without a label.

        Args:
            targets: (N, *T), whole numbers of any type.
            label_smoothing: eps in [0, 1). A tensor (M,) gives (N, K, *T, M).
            dtype: Of the result, and of the arithmetic.
        """
        soft = smooth_one_hot(self._classes(targets), self.n_classes, label_smoothing, dtype)
        return soft * align_heads(self.labelled(targets).unsqueeze(1), soft.ndim)

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns the mean cross-entropy in nats: scalar, or (M,) for M heads.

        Args:
            logits: (N, K, *T), or (N, K, *T, M) for M heads.
            targets: (N, *T), whole numbers of any type.
            label_smoothing: eps in [0, 1), or one a head, (M,).
        """
        known = self.labelled(targets)
        n_known = known.sum().clamp_min(1)
        if logits.ndim == targets.ndim + 1 and not isinstance(label_smoothing, Tensor):
            summed = F.cross_entropy(
                logits,
                targets.long(),
                ignore_index=self.ignore_index,
                label_smoothing=label_smoothing,
                reduction="sum",
            )
            return summed / n_known
        losses = cross_entropy_of_heads(logits, self._classes(targets), label_smoothing)
        losses = losses * align_heads(known, losses.ndim)
        return losses.sum(dim=tuple(range(targets.ndim))) / n_known

    def loss_gradient(
        self,
        logits: Tensor,
        targets: Tensor,
        label_smoothing: Smoothing = 0.0,
        out: Tensor | None = None,
    ) -> Tensor:
        """Returns (p - t) / n at the n labelled pixels, else 0; the shape of ``logits``.

        Args:
            logits: (N, K, *T) or (N, K, *T, M).
            targets: (N, *T), whole numbers of any type.
            label_smoothing: eps in [0, 1), or one a head, (M,).
            out: Written to; may be ``logits`` itself.
        """
        probs = torch.softmax(logits.detach(), dim=1, out=out)
        probs, at_label = subtract_uniform(probs, label_smoothing, 1.0)
        pull_at_label(probs, self._classes(targets), at_label)
        weight = mean_weight(self.labelled(targets), probs.dtype)
        return probs.mul_(align_heads(weight.unsqueeze(1), probs.ndim))

    def residual(self, logits: Tensor, targets: Tensor, label_smoothing: Smoothing = 0.0) -> Tensor:
        """Returns target minus probabilities, of the shape of ``logits``, 0 where unlabelled."""
        classes = self._classes(targets)
        soft = smooth_one_hot(classes, self.n_classes, label_smoothing, logits.dtype)
        residual = align_heads(soft, logits.ndim) - self.probs(logits)
        return residual * align_heads(self.labelled(targets).unsqueeze(1), logits.ndim)

    def labelled(self, targets: Tensor) -> Tensor:
        """Returns which pixels have a label, (N, *T) bool."""
        return targets != self.ignore_index

    def n_labelled(self, targets: Tensor) -> int:
        """Returns the number of labelled pixels."""
        return int(self.labelled(targets).sum())

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns per pixel whether the largest logit is the target's, (N, *T) or (N, *T, M)."""
        return largest_class(logits) == align_heads(targets, logits.ndim - 1)

    def n_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the number of correct pixels, int64: scalar, or (M,)."""
        return self.correct(logits, targets).sum(dim=tuple(range(targets.ndim)))

    def meter(self) -> IouMeter:
        """Returns a new meter of the mIoU."""
        return IouMeter(self.n_classes, self.ignore_index)

    def _classes(self, targets: Tensor) -> Tensor:
        """Returns class indices with class 0 where there is no label, to be masked later."""
        return targets.long().where(self.labelled(targets), 0)
