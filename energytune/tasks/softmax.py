"""Softmax and cross-entropy along dimension 1, for samples or pixels and any number of heads.

:class:`~energytune.tasks.multiclass.Multiclass` and
:class:`~energytune.tasks.per_pixel.PerPixel` are both made of these functions; they differ in
whether a target may be missing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energytune.tasks.base import Smoothing
from energytune.tasks.masks import align_heads

__all__ = [
    "cross_entropy_of_heads",
    "pull_at_label",
    "smooth_one_hot",
    "softmax_of_classes",
    "subtract_uniform",
]


_FEW_CLASSES = 16
_FEW_LABELS = 4096
"""Labels times heads up to which one scatter is faster than moving rows of heads."""


def softmax_of_classes(logits: Tensor, out: Tensor | None = None) -> Tensor:
    """Returns the softmax along dimension 1.

    Args:
        logits: (N, K, ...).
        out: Written to; may be ``logits`` itself.
    """
    if logits.ndim == 2 and logits.shape[1] <= _FEW_CLASSES:
        # torch's kernel for a last dimension is slow where that is short
        wide = None if out is None else out.unsqueeze(-1)
        return torch.softmax(logits.unsqueeze(-1), dim=1, out=wide).squeeze(-1)
    return torch.softmax(logits, dim=1, out=out)


def smooth_one_hot(
    classes: Tensor, n_classes: int, label_smoothing: Smoothing, dtype: torch.dtype
) -> Tensor:
    """Returns (1 - eps) one-hot + eps / K, PyTorch's convention.

    Args:
        classes: Class indices, (N, *T) int64, in [0, K).
        n_classes: K >= 1.
        label_smoothing: eps in [0, 1), or (M,).
        dtype: Of the result, and of the arithmetic.

    Returns:
        (N, K, *T), or (N, K, *T, M) for a smoothing of shape (M,).
    """
    shape = (classes.shape[0], n_classes, *classes.shape[1:])
    onehot = torch.zeros(shape, dtype=dtype, device=classes.device)
    onehot.scatter_(1, classes.unsqueeze(1), 1.0)
    if isinstance(label_smoothing, Tensor):
        label_smoothing = label_smoothing.to(onehot)
        onehot = align_heads(onehot, onehot.ndim + label_smoothing.ndim)
    return (1.0 - label_smoothing) * onehot + label_smoothing / n_classes


def cross_entropy_of_heads(
    logits: Tensor, classes: Tensor, label_smoothing: Smoothing = 0.0
) -> Tensor:
    """Returns the cross-entropy in nats of every sample (pixel) under every head.

    Args:
        logits: (N, K, *T, *heads).
        classes: Class indices, (N, *T) int64, in [0, K).
        label_smoothing: eps in [0, 1), or of the shape of the heads.

    Returns:
        (N, *T, *heads), differentiable.
    """
    log_probs = torch.log_softmax(logits, dim=1)
    index = align_heads(classes.unsqueeze(1), logits.ndim)
    index = index.expand(-1, -1, *classes.shape[1:], *logits.shape[classes.ndim + 1 :])
    at_label = -log_probs.gather(1, index).squeeze(1)
    if isinstance(label_smoothing, Tensor):
        label_smoothing = label_smoothing.to(logits)
    elif label_smoothing == 0.0:
        return at_label
    return (1.0 - label_smoothing) * at_label - label_smoothing * log_probs.mean(dim=1)


def subtract_uniform(
    probs: Tensor, label_smoothing: Smoothing, scale: float
) -> tuple[Tensor, Smoothing]:
    """Replaces ``probs`` by scale (probs - eps / K), in one pass for a tensor of smoothings.

    Args:
        probs: (N, K, *T, *heads); overwritten.
        label_smoothing: eps, or of the shape of the heads.
        scale: What all is multiplied with.

    Returns:
        ``probs``, and scale (1 - eps): what is left to subtract at the label.
    """
    if isinstance(label_smoothing, Tensor):
        eps = label_smoothing.to(probs)
        uniform = eps * (-scale / probs.shape[1])
        return torch.add(uniform, probs, alpha=scale, out=probs), (1.0 - eps) * scale
    if scale != 1.0:
        probs.mul_(scale)
    if label_smoothing != 0.0:
        probs.sub_(label_smoothing * scale / probs.shape[1])
    return probs, (1.0 - label_smoothing) * scale


def pull_at_label(probs: Tensor, classes: Tensor, pull: Smoothing) -> Tensor:
    """Subtracts ``pull`` from ``probs`` at each label, in place.

    Args:
        probs: (N, K, *T, *heads); overwritten.
        classes: Class indices, (N, *T) int64, in [0, K).
        pull: A number, or of the shape of the heads.

    Returns:
        ``probs``.
    """
    if classes.ndim == 1 and probs[:, 0].numel() <= _FEW_LABELS:
        shape = (len(classes), 1, *probs.shape[2:])
        index = align_heads(classes, probs.ndim).expand(shape)
        source = -pull.expand(shape) if isinstance(pull, Tensor) else probs.new_full(shape, -pull)
        return probs.scatter_add_(1, index, source)  # one term a place: always the same sum
    if classes.ndim == 1:
        # by far the fastest where many heads share a label: whole rows of heads are moved
        rows = torch.arange(len(classes), device=classes.device)
        probs[rows, classes] -= pull
        return probs
    index = align_heads(classes.unsqueeze(1), probs.ndim)
    index = index.expand(-1, -1, *classes.shape[1:], *probs.shape[classes.ndim + 1 :])
    # not scatter_add_: that one is not deterministic on a GPU
    return probs.scatter_(1, index, probs.gather(1, index) - pull)
