"""Molecules as dense tensors, so that every stage that handles images handles them too.

A batch is (B, S, F + 1 + M) float32: S slots for atoms, and in each slot F values of the atom,
a flag (1 = an atom, 0 = padding), and M columns for its neighbours. A neighbour is given by its
slot within the molecule plus 1, and 0 is none; every bond stands on both of its ends. Padding is
all zero. F is the number of atom features at the input and the width of a layer at a cut.

Slots are whole numbers, exact in float16 up to 2,048, in which features at a cut are cached.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Graphs", "pack", "unpack"]


class Graphs(NamedTuple):
    """A batch of graphs in the form of torch-geometric, and where its atoms stood.

    Attributes:
        edge_index: (2, E) int64, each bond in both directions: from row to row of the atoms.
        batch: Molecule of each atom, (N,) int64, ascending.
        n_graphs: Molecules B, also those without atoms.
        is_atom: Which slots hold an atom, (B, S) bool, N of them.
        structure: Flag and neighbours of each slot, (B, S, 1 + M), as they came.
    """

    edge_index: Tensor
    batch: Tensor
    n_graphs: int
    is_atom: Tensor
    structure: Tensor


def unpack(dense: Tensor, n_values: int) -> tuple[Tensor, Graphs]:
    """Returns the atoms' values as rows, (N, F), and the graphs.

    Args:
        dense: (B, S, F + 1 + M).
        n_values: F.
    """
    structure = dense[..., n_values:]
    is_atom = structure[..., 0] > 0.5
    batch, _ = slots = is_atom.nonzero(as_tuple=True)
    atoms = dense[slots]
    neighbours = atoms[:, n_values + 1 :].long()
    to_row, column = neighbours.nonzero(as_tuple=True)
    row_of_slot = is_atom.flatten().cumsum(0).view(is_atom.shape) - 1
    from_row = row_of_slot[batch[to_row], neighbours[to_row, column] - 1]
    edge_index = torch.stack((from_row, to_row))
    # in one piece, or a product of the same numbers may be rounded otherwise after a cut
    values = atoms[:, :n_values].contiguous()
    return values, Graphs(edge_index, batch, len(dense), is_atom, structure)


def pack(values: Tensor, graphs: Graphs) -> Tensor:
    """Returns the dense form, (B, S, F + 1 + M), of atoms' values, (N, F); undoes ``unpack``."""
    slots = values.new_zeros((*graphs.is_atom.shape, values.shape[1]))
    slots[graphs.is_atom] = values
    return torch.cat((slots, graphs.structure.to(values.dtype)), dim=-1)
