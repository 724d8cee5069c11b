"""Scores as pure functions of what a meter has gathered."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["confusion_matrix", "largest_class", "mean_iou", "mean_roc_auc", "roc_auc_of_labels"]


def roc_auc_of_labels(scores: Tensor, targets: Tensor) -> Tensor:
    """Returns the area under the ROC curve of each label, exact in float64.

    It is the chance that a positive sample scores above a negative one, ties counted half (the
    Mann-Whitney statistic). Only the order of the scores counts, so that raw logits serve and
    none is lost where a sigmoid rounds to 1. Missing labels take no part.

    Args:
        scores: (N, L) or (N, L, *heads), finite; higher means more positive.
        targets: (N, L), 1 for positive, 0 for negative, NaN or -1 for missing.

    Returns:
        (L,) or (L, *heads) float64 in [0, 1], NaN for a label without both classes.
    """
    areas = [
        _area(scores[targets[:, label] > 0, label], scores[targets[:, label] == 0, label])
        for label in range(targets.shape[1])
    ]
    return torch.stack(areas)


def _area(positive: Tensor, negative: Tensor) -> Tensor:
    """Returns P(positive > negative) + P(positive = negative) / 2, for (P, ...) and (Q, ...)."""
    wins = positive.movedim(0, -1).contiguous()
    field = negative.movedim(0, -1).contiguous().sort(dim=-1).values
    below = torch.searchsorted(field, wins).sum(dim=-1)
    not_above = torch.searchsorted(field, wins, right=True).sum(dim=-1)
    return (below + not_above).double() / (2 * len(positive) * len(negative))


def mean_roc_auc(scores: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean ROC-AUC over the labels that have both classes, scalar or (*heads).

    Where no label has both classes it is 0.5: no information.

    Args:
        scores: (N, L) or (N, L, *heads), finite.
        targets: (N, L), as for :func:`roc_auc_of_labels`.
    """
    areas = roc_auc_of_labels(scores, targets)
    # the labels decide which areas exist, so they are the same for all heads
    known = areas[(targets > 0).any(dim=0) & (targets == 0).any(dim=0)]
    if len(known) == 0:
        return torch.full(areas.shape[1:], 0.5, dtype=torch.float64, device=areas.device)
    return known.mean(dim=0)


def largest_class(logits: Tensor) -> Tensor:
    """Returns the class of the largest logit at each place, (N, *rest) int64; ties to the first.

    It is ``logits.argmax(dim=1)``, which on CPUs takes several times as long wherever the classes
    are not the last dimension.

    Args:
        logits: (N, K, *rest).
    """
    return logits.max(dim=1).indices


def confusion_matrix(predicted: Tensor, targets: Tensor, n_classes: int) -> Tensor:
    """Returns how often each class was predicted for each, (K, K) or (M, K, K) int64.

    Args:
        predicted: Class indices, (R,), or (R, M) for M heads, in [0, K).
        targets: Class indices, (R,), in [0, K).
        n_classes: K.

    Returns:
        Counts with the target's class in the rows and the prediction's in the columns.
    """
    n_cells = n_classes * n_classes
    heads = predicted.shape[1:]
    cells = targets.reshape(-1, *(1 for _ in heads)) * n_classes + predicted
    n_heads = heads.numel()
    cells = cells.reshape(-1, n_heads)
    cells = cells + n_cells * torch.arange(n_heads, device=cells.device)
    counts = torch.bincount(cells.flatten(), minlength=n_heads * n_cells)
    return counts.reshape(*heads, n_classes, n_classes)


def mean_iou(confusion: Tensor) -> Tensor:
    """Returns the mean over classes of intersection over union, (*heads) float64 in [0, 1].

    A class counts where it occurs, in the targets or in the predictions; a class that is in
    neither has no union. Where no class occurs it is 0.

    Args:
        confusion: (*heads, K, K), as made by :func:`confusion_matrix`.
    """
    counts = confusion.double()
    hits = counts.diagonal(dim1=-2, dim2=-1)
    union = counts.sum(dim=-1) + counts.sum(dim=-2) - hits
    n_occurring = (union > 0).sum(dim=-1)
    return (hits / union.clamp_min(1.0)).sum(dim=-1) / n_occurring.clamp_min(1)
