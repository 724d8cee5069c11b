"""Features that are kept nowhere: the frozen part of the network runs whenever they are read."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from energytune.training.features import check_view
from energytune.training.features_extract import FeatureSource
from energytune.training.features_writer import all_zero_error

__all__ = ["RecomputedFeatures"]


class RecomputedFeatures:
    """Features without a cache; an implementation of ``Features``.

    They are rounded as the cache rounds them, so they equal cached ones up to the rounding of a
    forward pass on another batch.

    Args:
        source: The network and the samples.
    """

    def __init__(self, source: FeatureSource) -> None:
        self._source = source

    @property
    def shape(self) -> torch.Size:
        """(N, ...): one view."""
        return torch.Size((len(self._source.split), *self._source.item_shape))

    @property
    def n_views(self) -> int:
        """1, or the number of augmented views."""
        return self._source.n_views

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._source.device

    def take(self, indices: Tensor, view: int = 0) -> Tensor:
        """Returns the features of some samples; see ``Features.take``.

        Raises:
            DataError: If a feature is NaN or infinite; names sample and layer.
        """
        check_view(view, self.n_views)
        wanted = indices.cpu()
        n_samples = len(self._source.split)
        if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < n_samples:
            raise IndexError(
                f"indices must be in 0..{n_samples - 1}, got {int(wanted.min())} to "
                f"{int(wanted.max())}."
            )
        parts = [_rounded(part) for part in self._source.batches(view=view, indices=wanted)]
        if not parts:
            return torch.empty((0, *self.shape[1:]), device=self.device)
        return torch.cat(parts)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yields all samples in order, (B, ...) float32.

        Raises:
            DataError: If a feature is NaN or infinite, or all of them are 0.
        """
        any_value = False
        for start in range(0, len(self._source.split), batch_size):
            stop = min(start + batch_size, len(self._source.split))
            features = self.take(torch.arange(start, stop))
            any_value = any_value or bool(features.any())
            yield features
        if not any_value:
            raise all_zero_error(self._source.name)


def _rounded(features: Tensor) -> Tensor:
    half = features.to(torch.float16).to(torch.float32)
    return torch.where(torch.isfinite(half), half, features)  # beyond float16 they stay as they are
