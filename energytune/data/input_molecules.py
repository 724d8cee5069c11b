"""Raw molecules: SMILES become the network's dense input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from energytune.data.atoms import ATOM_VOCABULARY
from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph, PaddedShape
from energytune.data.smiles import (
    molecule_graph,
    parse_smiles,
    quiet_rdkit,
    require_rdkit,
    smiles_problem,
)
from energytune.errors import DataError

__all__ = ["SmilesInputs"]

_SHOWN = 60  # characters of a SMILES in a message


@dataclass(frozen=True)
class SmilesInputs:
    """Molecules as SMILES, padded to the shape of training.

    A molecule that is larger makes its batch larger; the network takes any shape, and padding
    changes nothing but the last bits of a prediction.

    Attributes:
        n_slots: Slots for atoms, S.
        n_neighbours: Columns for neighbours, M.
        vocabulary: How atoms are numbered.

    Raises:
        ValueError: The vocabulary is another one.
    """

    n_slots: int
    n_neighbours: int
    vocabulary: str = ATOM_VOCABULARY
    kind = "smiles"

    def __post_init__(self) -> None:
        if self.vocabulary != ATOM_VOCABULARY:
            raise ValueError(f"atoms numbered as {self.vocabulary!r}, not {ATOM_VOCABULARY!r}")

    def prepare(self, raw: Any) -> MoleculeGraph:
        """Returns the molecule of a SMILES.

        Raises:
            DataError: It is no text, no valid SMILES, or too large.
            MissingDataError: RDKit is not installed.
        """
        require_rdkit("A prediction from SMILES")
        if not isinstance(raw, str):
            raise DataError(f"it must be a SMILES text, got a {type(raw).__name__}")
        with quiet_rdkit():
            molecule = parse_smiles(raw)
            problem = smiles_problem(molecule)
            if problem:
                raise DataError(f"it is unusable: {problem} ({raw[:_SHOWN]!r})")
            return molecule_graph(molecule)

    def stack(self, prepared: Sequence[MoleculeGraph]) -> Tensor:
        """Returns (N, S, 9 + 1 + M) float32."""
        arrays = MoleculeArrays.from_graphs(prepared)
        own = arrays.shape
        shape = PaddedShape(
            max(self.n_slots, own.n_slots), max(self.n_neighbours, own.n_neighbours)
        )
        return arrays.dense(shape)
