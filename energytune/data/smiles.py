"""Molecules from SMILES, by RDKit, with ogb's nine features an atom.

RDKit is an extra of this package and is imported only when a SMILES is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from energytune.data.atoms import MAX_ATOMS
from energytune.data.molecule_arrays import MoleculeGraph
from energytune.errors import MissingDataError

__all__ = [
    "MAX_LETTERS",
    "has_rdkit",
    "molecule_graph",
    "murcko_scaffold",
    "parse_smiles",
    "quiet_rdkit",
    "rdkit_version",
    "require_rdkit",
    "smiles_problem",
]

MAX_LETTERS = 10_000
"""Longest SMILES: its reading takes time with the square of the length, here some seconds."""
_CHIRALITIES = (
    "CHI_UNSPECIFIED",
    "CHI_TETRAHEDRAL_CW",
    "CHI_TETRAHEDRAL_CCW",
    "CHI_OTHER",
)
_HYBRIDISATIONS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")


def has_rdkit() -> bool:
    """Returns whether RDKit is installed, without importing it."""
    return find_spec("rdkit") is not None


def require_rdkit(what: str) -> None:
    """Checks that RDKit is installed.

    Args:
        what: What needs it, the beginning of a sentence: ``"Dataset 'molecules'"``.

    Raises:
        MissingDataError: It is not; says how to install it.
    """
    if not has_rdkit():
        raise MissingDataError(
            f"{what} needs RDKit, which is not installed. Install it with: "
            'pip install "energytune[mol]"'
        )


def rdkit_version() -> str:
    """Returns the version of the installed RDKit, without importing it; empty if there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rdkit")
    except PackageNotFoundError:
        return ""


@contextmanager
def quiet_rdkit() -> Iterator[None]:
    """Keeps RDKit from printing to stderr inside: what is wrong is told by our own messages."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        yield


def parse_smiles(smiles: str) -> Any | None:
    """Returns RDKit's molecule; None if the text is empty, too long, or no valid SMILES.

    Call it within :func:`quiet_rdkit`.
    """
    from rdkit import Chem

    text = smiles.strip()
    molecule = Chem.MolFromSmiles(text) if 0 < len(text) <= MAX_LETTERS else None
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def smiles_problem(molecule: Any | None) -> str:
    """Returns why a molecule can't be used; empty if it can."""
    if molecule is None:
        return "no valid SMILES"
    n_atoms = molecule.GetNumAtoms()
    return f"{n_atoms:,} atoms, more than {MAX_ATOMS:,}" if n_atoms > MAX_ATOMS else ""


def molecule_graph(molecule: Any) -> MoleculeGraph:
    """Returns atoms and bonds of one of RDKit's molecules, in its order."""
    atoms = np.array([_features(atom) for atom in molecule.GetAtoms()], np.uint8)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return MoleculeGraph(atoms, np.array(bonds, np.int64).reshape(-1, 2))


def murcko_scaffold(molecule: Any) -> str:
    """Returns the Bemis-Murcko scaffold as canonical SMILES: rings and what links them.

    Chirality is part of it, as in ogb's splits. A molecule without rings has the scaffold ``""``.
    """
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    scaffold: Any = MurckoScaffold
    return str(Chem.MolToSmiles(scaffold.GetScaffoldForMol(molecule)))


def _features(atom: Any) -> tuple[int, ...]:
    """Returns the nine category numbers; what ogb does not list is its last category."""
    return (
        _place(atom.GetAtomicNum() - 1, 118),
        _listed(str(atom.GetChiralTag()), _CHIRALITIES),
        _place(atom.GetTotalDegree(), 11),
        _place(atom.GetFormalCharge() + 5, 11),
        _place(atom.GetTotalNumHs(), 9),
        _place(atom.GetNumRadicalElectrons(), 5),
        _listed(str(atom.GetHybridization()), _HYBRIDISATIONS),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    )


def _place(value: int, n_listed: int) -> int:
    return value if 0 <= value < n_listed else n_listed


def _listed(value: str, listed: tuple[str, ...]) -> int:
    return listed.index(value) if value in listed else len(listed)
