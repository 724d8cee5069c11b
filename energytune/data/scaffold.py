"""Splits by scaffold: no ring system of the training molecules is met again in valid or test.

The rule is DeepChem's and ogb's ([Wu2018]_): groups of molecules with one Bemis-Murcko scaffold,
the larger ones first, fill train, then valid, then test. Here ties go by the scaffold's text, so
that the order of the rows has no say.

.. [Wu2018] Z. Wu et al. MoleculeNet: a benchmark for molecular machine learning. Chemical Science
   9, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = ["scaffold_split"]


def scaffold_split(
    scaffolds: Sequence[str], *, where: str, train: float = 0.8, valid: float = 0.1
) -> dict[str, Tensor]:
    """Returns the indices of train, valid and test, each (n,) int64 and ascending.

    Args:
        scaffolds: Of N molecules; the molecules without rings are one group.
        where: What is split, for messages.
        train: Largest share of train.
        valid: Largest share of valid.

    Raises:
        DataError: The molecules have too few scaffolds, so that a part stays empty.
    """
    groups: dict[str, list[int]] = {}
    for index, scaffold in enumerate(scaffolds):
        groups.setdefault(scaffold, []).append(index)
    n_all = len(scaffolds)
    parts: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for _, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(parts["train"]) + len(group) <= train * n_all:
            parts["train"] += group
        elif len(parts["train"]) + len(parts["valid"]) + len(group) <= (train + valid) * n_all:
            parts["valid"] += group
        else:
            parts["test"] += group
    empty = [part for part, indices in parts.items() if not indices]
    if empty:
        largest = max(map(len, groups.values()), default=0)
        raise DataError(
            f"The scaffold split of {where} leaves {' and '.join(empty)} empty: its {n_all:,} "
            f"molecules have {len(groups):,} scaffolds, the most frequent one in {largest:,} of "
            "them. Add molecules, or a column 'split' that says train, valid or test."
        )
    return {part: torch.tensor(sorted(indices)) for part, indices in parts.items()}
