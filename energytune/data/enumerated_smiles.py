"""Molecules put together by this package: a core with two substituents, each behind a linker.

No database is behind them, so that they can be made anywhere and shared freely. Which parts meet
is decided by a hash of the molecule's number, so the list is the same on every machine. Most of
the ends are harmless; some are the alerts that the embedded labels ask for, and some only look
like them: a cyclopropane beside an epoxide, an ester beside an aldehyde.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from energytune.data.smiles import parse_smiles

__all__ = ["CORES", "ENDS", "LINKERS", "assemble", "enumerate_molecules"]

CORES = (
    "c1cc({a})ccc1{b}",
    "c1ccc({a})cc1{b}",
    "c1cnc({a})cc1{b}",
    "c1nc({a})ncc1{b}",
    "c1cc({a})sc1{b}",
    "c1cc({a})oc1{b}",
    "c1nc({a})sc1{b}",
    "[nH]1cc({a})cc1{b}",
    "c1cc2cc({a})ccc2cc1{b}",
    "c1ccc2[nH]c({a})cc2c1{b}",
    "c1cc({a})c2ncccc2c1{b}",
    "c1ccc2oc({a})cc2c1{b}",
    "c1cc2sc({a})cc2cc1{b}",
    "c1cc({a})c2[nH]cnc2c1{b}",
    "C1CC({a})CCC1{b}",
    "C1CC({a})CC1{b}",
    "C1CC({a})CCN1{b}",
    "C1CN({a})CCN1{b}",
    "C1OCC({a})N(C1){b}",
    "C1OC({a})CC1{b}",
    "C1Cc2cc({a})ccc2CC1{b}",
    "C1C(=O)C({a})CC=C1{b}",
    "C({a})CC(C){b}",
    "C(C)({a})CCC{b}",
)
"""Texts with a place ``{a}`` and a place ``{b}`` for the substituents."""

LINKERS = ("", "", "", "C", "CC", "CO", "C(=O)N", "CCC")
"""What stands between core and end; direct bonds are three times as likely."""

ENDS = (
    "C",
    "C(C)C",
    "CC",
    "O",
    "OC",
    "OCC",
    "F",
    "C(F)(F)F",
    "C#N",
    "C(=O)O",
    "C(=O)OC",
    "C(=O)N",
    "C(=O)C",
    "N(C)C",
    "S(=O)(=O)C",
    "S(=O)(=O)N",
    "C7CC7",
    "c7ccccc7",
    "c7ccncc7",
    "c7ccco7",
    "C7CCCCC7",
    "N7CCOCC7",
    "N7CCCC7",
    "[N+](=O)[O-]",
    "C7CO7",
    "C7CN7",
    "C=CC(=O)C",
    "C(=O)C=C",
    "N",
    "NC",
    "C=O",
    "CC=O",
    "C(=O)NN",
    "C=NN",
    "CCl",
    "CBr",
    "CI",
    "Cl",
    "Br",
    "S",
    "N=C=S",
    "N=Nc7ccccc7",
    "C(=S)N",
    "ON=O",
)
"""What a substituent ends with; ring bonds have numbers that no core uses."""


def assemble(number: int, seed: int) -> str:
    """Returns the text of one molecule, which need not be a valid one.

    Args:
        number: Which one, >= 0.
        seed: Of the whole list.
    """
    digest = hashlib.sha256(f"{seed}\0molecule\0{number}".encode()).digest()
    picks = [int.from_bytes(digest[4 * i : 4 * i + 4], "big") for i in range(5)]
    core, linker_a, end_a, linker_b, end_b = (
        pick % len(parts)
        for pick, parts in zip(picks, (CORES, LINKERS, ENDS, LINKERS, ENDS), strict=True)
    )
    return CORES[core].format(a=LINKERS[linker_a] + ENDS[end_a], b=LINKERS[linker_b] + ENDS[end_b])


def enumerate_molecules(n_molecules: int, seed: int = 0) -> dict[str, Any]:
    """Returns so many different molecules of RDKit by canonical SMILES, always in the same order.

    Call it within :func:`~energytune.data.smiles.quiet_rdkit`.
    """
    from rdkit import Chem

    found: dict[str, Any] = {}
    for text in _texts(seed):
        if len(found) == n_molecules:
            break
        molecule = parse_smiles(text)
        if molecule is not None:
            found.setdefault(Chem.MolToSmiles(molecule), molecule)
    return found


def _texts(seed: int) -> Iterator[str]:
    number = 0
    while True:
        yield assemble(number, seed)
        number += 1
