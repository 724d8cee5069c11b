"""The targets of a map-style dataset, without decoding its images where that is possible."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from energytune.errors import DataError

__all__ = ["as_class_indices", "collect_targets"]


def collect_targets(dataset: Any, name: str) -> Tensor:
    """Returns the class indices of all samples, (N,) int64.

    Taken from ``dataset.targets`` or ``dataset.labels`` where there is such a sequence, also
    through ``torch.utils.data.Subset``; else every sample is read once.

    Args:
        dataset: Map-style dataset with items (image, class index).
        name: For messages.

    Raises:
        DataError: A target is no class index, or the dataset is not map-style.
    """
    known = _known_targets(dataset)
    if known is not None:
        return as_class_indices(known, name)
    return as_class_indices([dataset[index][1] for index in range(len(dataset))], name)


def _known_targets(dataset: Any) -> Any | None:
    if isinstance(dataset, Subset):
        inner = _known_targets(dataset.dataset)
        if inner is None:
            return None
        return [inner[index] for index in dataset.indices]
    if getattr(dataset, "target_transform", None) is not None:
        return None  # the stored targets are not those that the items carry
    for attribute in ("targets", "labels"):
        values = getattr(dataset, attribute, None)
        if isinstance(values, Tensor | np.ndarray | Sequence) and len(values) == len(dataset):
            return values
    return None


def as_class_indices(values: Any, name: str) -> Tensor:
    """Returns ``values`` as (N,) int64.

    Raises:
        DataError: They are not whole numbers, one a sample.
    """
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(values)
    if isinstance(values, Tensor):
        if values.ndim != 1 or values.is_floating_point() or values.is_complex():
            raise DataError(
                f"Targets of {name} must be whole numbers, one class index a sample, got "
                f"{values.dtype} of shape {tuple(values.shape)}."
            )
        return values.to(torch.int64)
    indices: list[int] = []
    for value in values:
        try:
            indices.append(operator.index(value))
        except TypeError:
            raise DataError(
                f"Targets of {name} must be whole numbers, one class index a sample, but sample "
                f"{len(indices)} has {value!r}."
            ) from None
    return torch.tensor(indices, dtype=torch.int64)
