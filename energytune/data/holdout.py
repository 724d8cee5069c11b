"""Splits of a dataset that depend on the samples' keys only, never on a random stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["class_ranks", "cut_valid", "stratified_order"]


def class_ranks(targets: Tensor, keys: Sequence[str], seed: int) -> dict[int, list[int]]:
    """Returns for each class its indices, ordered by sha256 of seed and key.

    A sample's place among the others of its class does not change when data are added: new
    samples slip in between.

    Args:
        targets: Class indices, (N,) int64.
        keys: What names a sample for ever, N texts.
        seed: Seed of the split, not of the search.
    """
    digests = [hashlib.sha256(f"{seed}\0{key}".encode()).digest() for key in keys]
    ranks: dict[int, list[int]] = {}
    for index, target in enumerate(targets.tolist()):
        ranks.setdefault(target, []).append(index)
    return {label: sorted(ranks[label], key=digests.__getitem__) for label in sorted(ranks)}


def stratified_order(ranks: dict[int, list[int]]) -> list[int]:
    """Interleaves the classes so that each stretch holds them in their overall proportions.

    The class with n samples puts its r-th one at (r + 1/2) / n of the way.
    """
    places = [
        ((rank + 0.5) / len(indices), label, index)
        for label, indices in ranks.items()
        for rank, index in enumerate(indices)
    ]
    return [index for _, _, index in sorted(places)]


def cut_valid(
    targets: Tensor, keys: Sequence[str], *, fraction: float = 0.2, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Cuts a validation set from training data, class by class.

    A class of two or more samples gives at least one and keeps at least one; a class of one
    sample keeps it.

    Args:
        targets: Class indices, (N,) int64.
        keys: What names a sample for ever, N texts.
        fraction: Share for validation, in (0, 1).
        seed: Seed of the split, not of the search.

    Returns:
        Indices of train and of valid, each int64 and ascending.
    """
    train: list[int] = []
    valid: list[int] = []
    for indices in class_ranks(targets, keys, seed).values():
        n_valid = min(max(1, round(fraction * len(indices))), len(indices) - 1)
        valid += indices[:n_valid]
        train += indices[n_valid:]
    return (
        torch.tensor(sorted(train), dtype=torch.int64),
        torch.tensor(sorted(valid), dtype=torch.int64),
    )
