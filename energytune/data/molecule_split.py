"""A split of molecules: packed into dense batches when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from energytune.data.molecule_arrays import MoleculeArrays, PaddedShape
from energytune.errors import DataError

__all__ = ["MoleculeSplit"]

_DENSE_BYTES = 1 << 25  # 32 MB: packing anew costs a small network a fifth of its time


class MoleculeSplit:
    """Molecules and their labels; an implementation of ``Split`` without augmentation.

    Attributes:
        molecules: N molecules.
        shape: To what a batch is padded: the same for all splits of a dataset, so that features
            at a cut have one shape.
    """

    def __init__(self, molecules: MoleculeArrays, targets: Tensor, shape: PaddedShape) -> None:
        """Takes N molecules and their labels, (N, L) float32, NaN where missing.

        Raises:
            DataError: The lengths differ, or a molecule is larger than ``shape``.
        """
        if targets.ndim != 2 or len(targets) != len(molecules):
            raise DataError(
                "A split of molecules needs one row of labels for each molecule: got "
                f"{len(molecules)} molecules and labels of shape {tuple(targets.shape)}."
            )
        own = molecules.shape
        if own.n_slots > shape.n_slots or own.n_neighbours > shape.n_neighbours:
            raise DataError(
                f"Molecules of {own.n_slots} atoms with {own.n_neighbours} neighbours don't fit "
                f"into {shape.n_slots} and {shape.n_neighbours}."
            )
        self.molecules, self.shape = molecules, shape
        self._targets = targets.to(torch.float32).contiguous()

    @property
    def targets(self) -> Tensor:
        """Labels, (N, L) float32: 1 for yes, 0 for no, NaN where missing."""
        return self._targets

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.molecules)

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches as ``Split`` says; ``augment`` and ``seed`` have no effect.

        Yields:
            molecules: (B, S, 9 + 1 + M) float32.
            targets: (B, L) float32.
        """
        indices = torch.arange(len(self)) if order is None else order
        for chosen in torch.split(indices, batch_size):
            yield self._packed(chosen), self._targets.index_select(0, chosen)

    def _packed(self, chosen: Tensor) -> Tensor:
        if self._dense is not None:
            return self._dense.index_select(0, chosen)
        return self.molecules.select(chosen.numpy()).dense(self.shape)

    @cached_property
    def _dense(self) -> Tensor | None:
        """All molecules, if that is little."""
        n_bytes = 4 * len(self) * self.shape.n_slots * self.shape.width
        return self.molecules.dense(self.shape) if n_bytes <= _DENSE_BYTES else None
