"""What a model says about one input, for a person and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kind", "Prediction", "predict_classes", "predict_labels", "predict_pixels"]

Kind = Literal["classes", "labels", "pixels"]
"""One class an input, several yes-or-no labels, or one class a pixel."""

_YES = 0.5


@dataclass(frozen=True)
class Prediction:
    """One input's prediction.

    Attributes:
        kind: What was predicted.
        class_names: The class; the labels that are more probable than not; or the classes that
            the mask shows, the largest first.
        labels: Their indices.
        top: Names with probabilities in [0, 1], the largest first; of pixels the share of pixels.
        probs: Probabilities of all classes or labels, (K,) float32; of pixels the shares.
        mask: Class of each pixel, (height, width) uint8, of the image as it came.
    """

    kind: Kind
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    top: tuple[tuple[str, float], ...]
    probs: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def class_name(self) -> str:
        """The classes or labels as text, parted by commas; ``"none"`` if no label applies."""
        return ", ".join(self.class_names) or "none"

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, without the mask."""
        share = "share" if self.kind == "pixels" else "probability"
        top = [{"class_name": name, share: value} for name, value in self.top]
        if self.kind == "classes":
            name, value = self.class_names[0], float(self.probs[self.labels[0]])
            return {"class_name": name, "label": self.labels[0], "probability": value, "top": top}
        return {"class_names": list(self.class_names), "labels": list(self.labels), "top": top}


def predict_classes(
    probs: NDArray[np.float32], names: Sequence[str], top_k: int | None
) -> Prediction:
    """Returns the prediction of one class.

    Args:
        probs: (K,), their sum is 1.
        names: Of the K classes.
        top_k: Classes in ``top``; None is 1.
    """
    label = int(probs.argmax())
    return Prediction("classes", (names[label],), (label,), _top(probs, names, top_k or 1), probs)


def predict_labels(
    probs: NDArray[np.float32], names: Sequence[str], top_k: int | None
) -> Prediction:
    """Returns the prediction of L yes-or-no labels.

    Args:
        probs: (L,), each in [0, 1].
        names: Of the L labels.
        top_k: Labels in ``top``; None is all.
    """
    yes = tuple(int(i) for i in np.flatnonzero(probs > _YES))
    top = _top(probs, names, top_k or len(names))
    return Prediction("labels", tuple(names[i] for i in yes), yes, top, probs)


def predict_pixels(mask: NDArray[np.uint8], names: Sequence[str], top_k: int | None) -> Prediction:
    """Returns the prediction of a mask.

    Args:
        mask: Class of each pixel, (height, width).
        names: Of the K classes.
        top_k: Classes in ``top``; None is all that the mask shows.
    """
    counts = np.bincount(mask.reshape(-1), minlength=len(names))[: len(names)]
    shares = (counts / max(1, counts.sum())).astype(np.float32)
    order = np.argsort(-shares, kind="stable")
    shown = tuple(int(i) for i in order if counts[i])
    top = _top(shares, names, top_k or max(1, len(shown)))
    return Prediction("pixels", tuple(names[i] for i in shown), shown, top, shares, mask)


def _top(
    values: NDArray[np.float32], names: Sequence[str], k: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-values, kind="stable")[:k]
    return tuple((names[i], float(values[i])) for i in order)
