"""Features of one split at one cut: what probing reads, and the kind that lies in memory.

The other kinds are :class:`~energytune.training.features_mapped.MappedFeatures` (a file that is
never loaded whole) and :class:`~energytune.training.features_recomputed.RecomputedFeatures` (no
file: the frozen part of the network runs again).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = ["Features", "TensorFeatures", "check_view", "content_key", "train_view"]

_FORMAT = 1


def content_key(**parts: Any) -> str:
    """Returns 32 hex digits that address a value by everything it depends on (JSON values)."""
    text = json.dumps({"format": _FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Features(Protocol):
    """Features of one split at one cut; view 0 is the evaluation transform's."""

    @property
    def shape(self) -> torch.Size:
        """(N, ...): one view."""
        ...

    @property
    def n_views(self) -> int:
        """1: the evaluation transform only; V > 1: V augmented views beside it."""
        ...

    @property
    def device(self) -> torch.device:
        """Where batches are given out."""
        ...

    def take(self, indices: Tensor, view: int = 0) -> Tensor:
        """Returns the features of some samples, (B, ...) float32; the caller may write to them.

        Args:
            indices: (B,) int64, in [0, N), on the CPU or on this device; any order, repeats too.
            view: 0 for the evaluation transform; 1..V for the augmented views, where V > 1.

        Raises:
            IndexError: If there is no such sample or view.
        """
        ...

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yields all samples in order, view 0, (B, ...) float32; they are not to be written to."""
        ...


class TensorFeatures:
    """Features that lie in memory, on any device.

    Float64 stays float64; what is narrower than float32 is stored so and given out as float32.

    Args:
        tensor: View 0, (N, ...).
        views: Augmented views, (V, N, ...) with V >= 2; None if there are none.

    Raises:
        DataError: If the shapes, dtypes or devices of the two don't fit.
    """

    def __init__(self, tensor: Tensor, views: Tensor | None = None) -> None:
        if views is not None:
            _check_views(tensor, views)
        self._tensor, self._views = tensor, views
        self._dtype = _wide_dtype(tensor.dtype)

    @property
    def shape(self) -> torch.Size:
        """(N, ...): one view."""
        return self._tensor.shape

    @property
    def n_views(self) -> int:
        """1, or the number of augmented views."""
        return 1 if self._views is None else len(self._views)

    @property
    def device(self) -> torch.device:
        """Where the tensor lies."""
        return self._tensor.device

    def take(self, indices: Tensor, view: int = 0) -> Tensor:
        """Returns the features of some samples; see :meth:`Features.take`."""
        check_view(view, self.n_views)
        source = self._tensor
        if view > 0 and self._views is not None:
            source = self._views[view - 1]
        return source.index_select(0, indices.to(source.device)).to(self._dtype)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yields all samples in order; views of the tensor itself where it is wide enough."""
        for part in torch.split(self._tensor, batch_size):
            yield part.to(self._dtype)


def train_view(epoch: int, n_views: int) -> int:
    """Returns the view that a training epoch reads: each augmented view in turn.

    Args:
        epoch: 1 for the first epoch.
        n_views: :attr:`Features.n_views`.

    Returns:
        0 if there is the evaluation transform only, else 1, 2, ..., V, 1, ...
    """
    return 0 if n_views == 1 else 1 + (epoch - 1) % n_views


def check_view(view: int, n_views: int) -> None:
    """Checks that a view exists.

    Raises:
        IndexError: If it does not.
    """
    last = n_views if n_views > 1 else 0
    if not 0 <= view <= last:
        raise IndexError(f"view must be in 0..{last} for n_views = {n_views}, got {view}.")


def _check_views(tensor: Tensor, views: Tensor) -> None:
    fits = views.shape[1:] == tensor.shape and len(views) >= 2
    if not fits or (views.dtype, views.device) != (tensor.dtype, tensor.device):
        raise DataError(
            "Augmented views must be (V, N, ...) with V >= 2, of the dtype and device of the "
            f"evaluation view, got {tuple(views.shape)} {views.dtype} on {views.device} beside "
            f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}."
        )


def _wide_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
