"""Raw inputs that are arrays of numbers and come ready for the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = ["ReadyInputs", "as_numbers"]


@dataclass(frozen=True)
class ReadyInputs:
    """Arrays that are the network's inputs already.

    Attributes:
        shape: Shape of one; None takes any.
    """

    shape: tuple[int, ...] | None = None
    kind = "ready"

    def prepare(self, raw: Any) -> Tensor:
        """Returns a float32 tensor.

        Raises:
            DataError: It is no array of finite numbers, or of another shape.
        """
        ready = torch.from_numpy(as_numbers(raw).astype(np.float32))
        if self.shape is not None and ready.ndim == 1 and ready.numel() == math.prod(self.shape):
            ready = ready.view(self.shape)  # a row of a table
        if self.shape is not None and tuple(ready.shape) != self.shape:
            raise DataError(
                f"it must be ready for the network, of shape {self.shape}; got "
                f"{tuple(ready.shape)}. This model's preprocessing is not known"
            )
        return ready

    def stack(self, prepared: Sequence[Tensor]) -> Tensor:
        """Returns (N, ...) float32."""
        return torch.stack(list(prepared))


def as_numbers(raw: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns an array of finite numbers, float64; text that is a number counts as one.

    Raises:
        DataError: It is something else.
    """
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    try:
        numbers = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise DataError(f"it must be an array of numbers, got a {type(raw).__name__}") from failure
    if not np.isfinite(numbers).all():
        raise DataError("it holds NaN or infinity")
    return numbers
