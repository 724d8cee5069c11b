"""What the tasks share about shapes: heads at the end, and the weights of a masked mean."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["align_heads", "mean_weight"]


def align_heads(values: Tensor, n_dims: int) -> Tensor:
    """Returns ``values`` with dimensions of size 1 at the end, up to ``n_dims`` in all."""
    return values.reshape(values.shape + (1,) * (n_dims - values.ndim))


def mean_weight(known: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns 1 / n at the n entries that are known and 0 elsewhere; all 0 where n is 0.

    Args:
        known: Any shape, bool.
        dtype: Of what is averaged; the weights are float32 at least, since the halves of 16 bits
            can't hold 1 / n for a large n.
    """
    return known.to(torch.promote_types(dtype, torch.float32)) / known.sum().clamp_min(1)
