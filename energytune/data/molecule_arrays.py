"""Many molecules in few flat arrays, packed into dense batches when they are asked for.

A network takes (B, S, 9 + 1 + M) float32, laid out as :mod:`energytune.models.graph_layout` says:
nine features, the flag 1, and the slots of the neighbours plus 1, for each of S atoms. Padded so,
ogb's molpcba would take 90 GB; here it takes 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energytune.data.atoms import ATOM_CATEGORIES
from energytune.data.fingerprint import hash_tensors

__all__ = ["MoleculeArrays", "MoleculeGraph", "PaddedShape"]

_N_FEATURES = len(ATOM_CATEGORIES)


@dataclass(frozen=True)
class MoleculeGraph:
    """One molecule.

    Attributes:
        atoms: Category numbers of its atoms, (A, 9) uint8.
        bonds: Its bonds once each, (E, 2), whole numbers in [0, A).
    """

    atoms: NDArray[np.uint8]
    bonds: NDArray[np.int64]


@dataclass(frozen=True)
class PaddedShape:
    """To what molecules are padded.

    Attributes:
        n_slots: Slots for atoms, S.
        n_neighbours: Columns for neighbours, M.
    """

    n_slots: int
    n_neighbours: int

    @property
    def width(self) -> int:
        """Numbers an atom, 9 + 1 + M."""
        return _N_FEATURES + 1 + self.n_neighbours


@dataclass(frozen=True, eq=False)
class MoleculeArrays:
    """G molecules, their atoms and the neighbours of their atoms one after the other.

    Attributes:
        atoms: Category numbers, (A, 9) uint8.
        degrees: Neighbours of each atom, (A,) uint8.
        neighbours: Place of each neighbour within its molecule, from 0, (2 E,) int16.
        n_atoms: Atoms of each molecule, (G,) int32.
        n_ends: Neighbours of all its atoms together, twice its bonds, (G,) int32.
    """

    atoms: NDArray[np.uint8]
    degrees: NDArray[np.uint8]
    neighbours: NDArray[np.int16]
    n_atoms: NDArray[np.int32]
    n_ends: NDArray[np.int32]

    @classmethod
    def from_bonds(
        cls,
        atoms: NDArray[np.uint8],
        n_atoms: NDArray[np.int32],
        bonds: NDArray[np.int64],
        n_bonds: NDArray[np.int64],
    ) -> MoleculeArrays:
        """Puts molecules together from flat lists.

        A bond that is listed twice or both ways counts once, one from an atom to itself not.

        Args:
            atoms: (A, 9).
            n_atoms: (G,), their sum is A.
            bonds: Pairs of places within the molecule, (E, 2).
            n_bonds: (G,), their sum is E.
        """
        n_all, offsets = len(atoms), _starts(n_atoms)
        shift = np.repeat(offsets, n_bonds)
        ends = bonds.reshape(-1, 2) + shift[:, None]
        ends = ends[ends[:, 0] != ends[:, 1]]
        both = np.unique(np.concatenate((ends, ends[:, ::-1])) @ np.array([max(n_all, 1), 1]))
        to_atom, from_atom = np.divmod(both, max(n_all, 1))
        degrees = np.bincount(to_atom, minlength=n_all)
        molecule = np.repeat(np.arange(len(n_atoms)), n_atoms)
        n_ends = np.bincount(molecule, weights=degrees, minlength=len(n_atoms))
        return cls(
            atoms,
            degrees.astype(np.uint8),
            (from_atom - offsets[molecule[to_atom]]).astype(np.int16),
            n_atoms.astype(np.int32),
            n_ends.astype(np.int32),
        )

    @classmethod
    def from_graphs(cls, graphs: Sequence[MoleculeGraph]) -> MoleculeArrays:
        """Puts molecules together."""
        atoms = [np.zeros((0, _N_FEATURES), np.uint8), *(graph.atoms for graph in graphs)]
        bonds = [np.zeros((0, 2), np.int64), *(graph.bonds for graph in graphs)]
        return cls.from_bonds(
            np.concatenate(atoms),
            np.array([len(graph.atoms) for graph in graphs], np.int32),
            np.concatenate(bonds),
            np.array([len(graph.bonds) for graph in graphs], np.int64),
        )

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> MoleculeArrays:
        """Undoes :meth:`tensors`; others in ``tensors`` are ignored."""
        return cls(**{name: tensors[name].numpy() for name in cls.__dataclass_fields__})

    def tensors(self) -> dict[str, Tensor]:
        """Returns the arrays by name, to be stored; they share memory with this object."""
        return {name: _tensor(getattr(self, name)) for name in self.__dataclass_fields__}

    def __len__(self) -> int:
        """Number of molecules, G."""
        return len(self.n_atoms)

    @cached_property
    def shape(self) -> PaddedShape:
        """The smallest shape that holds every molecule."""
        slots = int(self.n_atoms.max(initial=1))
        return PaddedShape(slots, int(self.degrees.max(initial=1)))

    def select(self, indices: NDArray[np.int64]) -> MoleculeArrays:
        """Returns copies of some molecules, in the order of ``indices``, (B,)."""
        atoms = _ranges(self._first_atom[indices], self.n_atoms[indices])
        ends = _ranges(self._first_end[indices], self.n_ends[indices])
        return MoleculeArrays(
            self.atoms[atoms],
            self.degrees[atoms],
            self.neighbours[ends],
            self.n_atoms[indices],
            self.n_ends[indices],
        )

    def dense(self, shape: PaddedShape) -> Tensor:
        """Returns all molecules as (G, S, 9 + 1 + M) float32."""
        dense = np.zeros((len(self), shape.n_slots, shape.width), np.float32)
        if len(self.atoms) == 0:
            return torch.from_numpy(dense)
        molecule = np.repeat(np.arange(len(self)), self.n_atoms)
        slot = _ranges(np.zeros(len(self), np.int64), self.n_atoms)
        place = molecule * shape.n_slots + slot
        rows = dense.reshape(-1, shape.width)
        rows[place, :_N_FEATURES] = self.atoms
        rows[place, _N_FEATURES] = 1.0
        column = _ranges(np.full(len(place), _N_FEATURES + 1), self.degrees)
        rows[np.repeat(place, self.degrees), column] = self.neighbours + np.float32(1.0)
        return torch.from_numpy(dense)

    def sha256(self) -> str:
        """Returns the sha256 (hex) over all molecules, in order."""
        return hash_tensors(self.tensors().values())

    @cached_property
    def _first_atom(self) -> NDArray[np.int64]:
        return _starts(self.n_atoms)

    @cached_property
    def _first_end(self) -> NDArray[np.int64]:
        return _starts(self.n_ends)


def _tensor(array: NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    # numpy's empty arrays have strides of 0
    return tensor if array.size else torch.empty(array.shape, dtype=tensor.dtype)


def _starts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns where each of the parts begins that lie one after the other."""
    return np.cumsum(counts, dtype=np.int64) - counts


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns starts[0], starts[0] + 1, ... (counts[0] of them), starts[1], ..., as one array."""
    shift = np.repeat(starts - _starts(counts), counts)
    return shift + np.arange(len(shift))
