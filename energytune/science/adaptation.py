"""How far finetuning moved the features: the four quantities of [Ren2023]_, Section 4.2."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from energytune.errors import DataError

__all__ = ["Adaptation", "feature_adaptation"]


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
    if features_before.shape != features_after.shape or features_before.shape[:1] in ((), (0,)):
        raise DataError(
            "Features before and after finetuning must have one shape (N, ...) with N >= 1, "
            f"got {tuple(features_before.shape)} and {tuple(features_after.shape)}."
        )
    before = features_before.double().flatten(1)
    after = features_after.double().flatten(1)
    dot = (before * after).sum(dim=1)
    norms = before.norm(dim=1) * after.norm(dim=1)
    cosine = (dot / norms).where(norms > 0, 0.0).clamp(-1.0, 1.0)
    return Adaptation(
        feature_distance=float((after - before).norm(dim=1).mean()),
        feature_cosine=float(cosine.mean()),
        feature_dot=float(dot.mean()),
        feature_norm=float(after.norm(dim=1).mean()),
    )
