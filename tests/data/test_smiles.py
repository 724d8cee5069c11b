from __future__ import annotations

import subprocess
import sys

import pytest

from energytune.data import smiles as smiles_module
from energytune.data.smiles import (
    molecule_graph,
    murcko_scaffold,
    parse_smiles,
    quiet_rdkit,
    require_rdkit,
    smiles_problem,
)
from energytune.errors import MissingDataError

CARBON_H3 = [5, 0, 4, 5, 3, 0, 2, 0, 0]
CARBON_SP2 = [5, 0, 3, 5, 0, 0, 1, 0, 0]
OXYGEN_DOUBLE = [7, 0, 1, 5, 0, 0, 1, 0, 0]
AROMATIC_CH = [5, 0, 3, 5, 1, 0, 1, 1, 1]
AROMATIC_C = [5, 0, 3, 5, 0, 0, 1, 1, 1]
CONJUGATED_O = [7, 0, 2, 5, 0, 0, 1, 0, 0]

# Worked out by hand from ogb's lists: element - 1, chirality, degree with hydrogens, charge + 5,
# hydrogens, radical electrons, hybridisation (SP, SP2, SP3, SP3D, SP3D2, other), aromatic, ring.
KNOWN = {
    "CCO": [CARBON_H3, [5, 0, 4, 5, 2, 0, 2, 0, 0], [7, 0, 2, 5, 1, 0, 2, 0, 0]],
    # aspirin: the ester's and the acid's single-bonded oxygens are conjugated, so SP2
    "CC(=O)Oc1ccccc1C(=O)O": [
        CARBON_H3,
        CARBON_SP2,
        OXYGEN_DOUBLE,
        CONJUGATED_O,
        AROMATIC_C,
        *[AROMATIC_CH] * 4,
        AROMATIC_C,
        CARBON_SP2,
        OXYGEN_DOUBLE,
        [7, 0, 2, 5, 1, 0, 1, 0, 0],
    ],
    # the example in ogb's source: a chiral carbon
    "Cl[C@H](/C=C/C)Br": [
        [16, 0, 1, 5, 0, 0, 2, 0, 0],
        [5, 2, 4, 5, 1, 0, 2, 0, 0],
        [5, 0, 3, 5, 1, 0, 1, 0, 0],
        [5, 0, 3, 5, 1, 0, 1, 0, 0],
        CARBON_H3,
        [34, 0, 1, 5, 0, 0, 2, 0, 0],
    ],
    "[NH4+].[Cl-]": [[6, 0, 4, 6, 4, 0, 2, 0, 0], [16, 0, 0, 4, 0, 0, 2, 0, 0]],
    "[CH3]": [[5, 0, 3, 5, 3, 1, 2, 0, 0]],
}


@pytest.mark.parametrize("text", KNOWN)
def test_atom_features_are_those_of_ogb(text: str) -> None:
    assert molecule_graph(parse_smiles(text)).atoms.tolist() == KNOWN[text]


def test_what_is_not_listed_is_the_last_category() -> None:
    atoms = molecule_graph(parse_smiles("*[Fe+7]")).atoms.tolist()
    assert atoms[0][0] == 118  # no element
    assert atoms[1][3] == 11  # charge + 5 is at most 10
    assert atoms[0][6] == 5


def test_bonds_are_listed_once_and_single_atoms_have_none() -> None:
    assert molecule_graph(parse_smiles("C1CC1")).bonds.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert molecule_graph(parse_smiles("O")).bonds.shape == (0, 2)


@pytest.mark.parametrize("text", ["", "  ", "C1CC", "c1ccc", "CX", "C(C)(C)(C)(C)C", "not"])
def test_invalid_smiles_are_none_and_nothing_is_printed(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with quiet_rdkit():
        molecule = parse_smiles(text)
    assert molecule is None
    assert smiles_problem(molecule) == "no valid SMILES"
    assert capfd.readouterr() == ("", "")


def test_very_large_molecules_are_a_problem() -> None:
    assert smiles_problem(parse_smiles("C" * 2000)) == ""
    assert smiles_problem(parse_smiles("C" * 2001)) == "2,001 atoms, more than 2,000"


def test_scaffolds_are_rings_and_what_links_them() -> None:
    assert murcko_scaffold(parse_smiles("CCCO")) == ""
    assert murcko_scaffold(parse_smiles("CC(=O)Oc1ccccc1C(=O)O")) == "c1ccccc1"
    assert murcko_scaffold(parse_smiles("c1ccccc1CCC1CC1N")) == "c1ccc(CCC2CC2)cc1"


def test_a_missing_rdkit_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smiles_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"Dataset 'x' needs RDKit.*energytune\[mol\]"):
        require_rdkit("Dataset 'x'")


def test_importing_the_readers_does_not_import_rdkit() -> None:
    code = (
        "import sys, energytune.data.molecules, energytune.data.embedded_molecules\n"
        "print('rdkit' in sys.modules, 'torch_geometric' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]
