"""How far finetuning moved the features: the four quantities of [Ren2023]_, Section 4.2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = ["Adaptation", "feature_adaptation", "streamed_adaptation"]


@dataclass(frozen=True)
class Adaptation:
    """Means over samples, of features before (z_0) and after finetuning (z_T).

    Attributes:
        feature_distance: ||z_T - z_0||_2, >= 0; falls as tau grows.
        feature_cosine: cos(z_T, z_0), in [-1, 1]; 0 for a sample with a zero vector.
        feature_dot: z_T . z_0; first rises, then falls with tau.
        feature_norm: ||z_T||_2, >= 0; first rises, then falls with tau.
    """

    feature_distance: float
    feature_cosine: float
    feature_dot: float
    feature_norm: float

    def to_dict(self) -> dict[str, float]:
        """Returns the four numbers by name."""
        return asdict(self)


def feature_adaptation(features_before: Tensor, features_after: Tensor) -> Adaptation:
    """Returns the four adaptation metrics, computed in float64.

    Args:
        features_before: z_0, (N, ...), N >= 1; trailing dimensions are flattened.
        features_after: z_T, of the same shape and for the same samples in the same order.

    Raises:
        DataError: If the shapes differ or there is no sample.
    """
    return streamed_adaptation([(features_before, features_after)])


def streamed_adaptation(batches: Iterable[tuple[Tensor, Tensor]]) -> Adaptation:
    """Returns what :func:`feature_adaptation` returns, from one batch after the other.

    Args:
        batches: Pairs (z_0, z_T) of shape (B, ...), B >= 1, that together hold every sample once.

    Raises:
        DataError: If the shapes of a pair differ or there is no sample.
    """
    totals, n_samples = torch.zeros(4, dtype=torch.float64), 0
    for features_before, features_after in batches:
        if features_before.shape != features_after.shape or features_before.shape[:1] in ((), (0,)):
            raise DataError(
                "Features before and after finetuning must have one shape (N, ...) with N >= 1, "
                f"got {tuple(features_before.shape)} and {tuple(features_after.shape)}."
            )
        totals += _sums(features_before, features_after).cpu()
        n_samples += len(features_before)
    if n_samples == 0:
        raise DataError("Features before and after finetuning must hold a sample, got none.")
    distance, cosine, dot, norm = (totals / n_samples).tolist()
    return Adaptation(
        feature_distance=distance, feature_cosine=cosine, feature_dot=dot, feature_norm=norm
    )


def _sums(features_before: Tensor, features_after: Tensor) -> Tensor:
    """Returns the sums over samples of distance, cosine, dot product and norm, (4,) float64."""
    before = features_before.double().flatten(1)
    after = features_after.double().flatten(1)
    dot = (before * after).sum(dim=1)
    norms = before.norm(dim=1) * after.norm(dim=1)
    cosine = (dot / norms).where(norms > 0, 0.0).clamp(-1.0, 1.0)
    distance = (after - before).norm(dim=1)
    return torch.stack([distance, cosine, dot, after.norm(dim=1)]).sum(dim=1)
