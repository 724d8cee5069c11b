"""What a score on a test split was made of, example by example, so that two models can be paired.

Two models are compared on the same examples: what each of them did on every one has to be kept.
For accuracy that is right or wrong; for ROC-AUC the score of every label, with the labels; for
mIoU each image's counts of pixels by class. From them the score of any resample of the examples
is made again exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energytune.errors import DataError

__all__ = ["ARRAYS_OF", "Array", "Evidence", "evidence_of_correct", "miou_of_counts"]

Array = NDArray[np.generic]

ARRAYS_OF = {
    "accuracy": {"correct": 1},
    "roc_auc": {"scores": 2, "targets": 2},
    "miou": {"counts": 3},
}
"""The arrays of each metric and their number of dimensions; the first is the example's."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a model did on every example of a split, in the split's order.

    Attributes:
        metric: ``Task.metric``.
        arrays: ``"accuracy"``: ``correct`` (N,) bool. ``"roc_auc"``: ``scores`` (N, L) float32 or
            float64, raw logits, and ``targets`` (N, L) int8, 1 for yes, 0 for no, -1 for missing.
            ``"miou"``: ``counts`` (N, 3, K) int64 over the labelled pixels: hits of each class,
            pixels predicted as it, pixels labelled as it.

    Raises:
        DataError: Another metric, arrays of other names or shapes, or non-finite scores.
    """

    metric: str
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        wanted = ARRAYS_OF.get(self.metric)
        shapes = {name: array.shape for name, array in self.arrays.items()}
        lengths = {shape[:1] for shape in shapes.values()}
        if wanted != {name: len(shape) for name, shape in shapes.items()} or len(lengths) != 1:
            raise DataError(
                f"Evidence of {self.metric!r} must hold {wanted}, arrays and their dimensions, "
                f"got the shapes {shapes}. Test the model again."
            )
        scores = self.arrays.get("scores")
        if scores is not None and not np.isfinite(scores).all():
            raise DataError("Evidence holds scores that are not finite. Test the model again.")

    @property
    def n_examples(self) -> int:
        """Number of test examples, N."""
        return len(next(iter(self.arrays.values())))

    def score(self) -> float:
        """Returns the score of all examples, as the task's meter gives it."""
        if self.metric == "accuracy":
            return float(self.arrays["correct"].sum()) / max(self.n_examples, 1)
        if self.metric == "roc_auc":
            import torch

            from energytune.tasks.scores import mean_roc_auc

            scores, targets = (torch.as_tensor(self.arrays[n]) for n in ("scores", "targets"))
            return float(mean_roc_auc(scores, targets))
        return float(
            miou_of_counts(np.asarray(self.arrays["counts"]).sum(axis=0, keepdims=True))[0]
        )

    def digest(self) -> str:
        """Returns 16 hexadecimal digits that tell the content from any other."""
        told = hashlib.sha256(self.metric.encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            told.update(f"{name} {array.dtype.str} {array.shape}".encode())
            told.update(array.tobytes())
        return told.hexdigest()[:16]


def evidence_of_correct(correct: Sequence[bool]) -> Evidence:
    """Returns the evidence of an accuracy: per example whether the model was right."""
    return Evidence("accuracy", {"correct": np.asarray(correct, dtype=bool)})


def miou_of_counts(counts: NDArray[np.generic]) -> NDArray[np.float64]:
    """Returns the mIoU of summed counts, as ``mean_iou`` does: over the classes that occur.

    Args:
        counts: (R, 3, K): hits, predicted and labelled pixels of each class.

    Returns:
        (R,) in [0, 1]; 0 where no class occurs.
    """
    hits, predicted, labelled = np.moveaxis(counts.astype(np.float64), 1, 0)
    union = predicted + labelled - hits
    n_occurring = (union > 0).sum(axis=-1)
    summed = (hits / np.maximum(union, 1.0)).sum(axis=-1)
    return np.asarray(summed / np.maximum(n_occurring, 1), dtype=np.float64)
