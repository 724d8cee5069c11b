"""Rows with SMILES become molecules, split by their own column or by scaffold."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph
from energytune.data.molecule_table import PARTS, MoleculeTable
from energytune.data.scaffold import scaffold_split
from energytune.data.smiles import (
    molecule_graph,
    murcko_scaffold,
    parse_smiles,
    quiet_rdkit,
    smiles_problem,
)
from energytune.data.smiles_csv import SmilesRows
from energytune.errors import DataError
from energytune.progress import Progress

__all__ = ["molecule_table"]

_SHOWN = 3
_TOLD_EVERY = 256


def molecule_table(rows: SmilesRows, progress: Progress) -> MoleculeTable:
    """Returns the molecules of rows; invalid SMILES and rows without a label are left out.

    Args:
        rows: From :func:`~energytune.data.smiles_csv.read_smiles_csv`.
        progress: Told the rows that were read.

    Raises:
        DataError: No SMILES is valid, no row has a label, or the scaffolds can't be split.
    """
    labelled = np.asarray(~np.isnan(rows.labels).all(axis=1))
    if not labelled.any():
        raise DataError(
            f"{rows.path} has missing labels only: none of its {len(rows.smiles):,} rows has a "
            f"value for {', '.join(rows.label_names[:10])}."
        )
    kept, graphs, scaffolds, problems = _parsed(rows, labelled, progress)
    if not kept:
        raise DataError(
            f"{rows.path} has no valid SMILES in {len(problems):,} labelled rows: "
            f"{'; '.join(problems[:_SHOWN])}. Name the column with the SMILES: "
            "csv:PATH?smiles=COLUMN."
        )
    parts, split = _parts(rows, kept, scaffolds)
    return MoleculeTable(
        molecules=MoleculeArrays.from_graphs(graphs),
        labels=torch.from_numpy(rows.labels[kept]),
        label_names=rows.label_names,
        parts=parts,
        split=split,
        notes=_notes(rows, labelled, problems),
    )


def _parsed(
    rows: SmilesRows, labelled: NDArray[np.bool_], progress: Progress
) -> tuple[list[int], list[MoleculeGraph], list[str], list[str]]:
    """Returns the rows that can be used, graphs and scaffolds of these, and what is wrong."""
    kept: list[int] = []
    graphs: list[MoleculeGraph] = []
    scaffolds: list[str] = []
    problems: list[str] = []
    total = len(rows.smiles)
    with quiet_rdkit(), progress.stage(f"molecules of {rows.path.name}", total) as advance:
        for index, text in enumerate(rows.smiles):
            if index % _TOLD_EVERY == _TOLD_EVERY - 1:
                advance(_TOLD_EVERY)
            if not labelled[index]:
                continue
            molecule = parse_smiles(text)
            if problem := smiles_problem(molecule):
                problems.append(f"line {rows.lines[index]} {text!r}: {problem}")
                continue
            kept.append(index)
            graphs.append(molecule_graph(molecule))
            if not rows.parts:
                scaffolds.append(murcko_scaffold(molecule))
        advance(total % _TOLD_EVERY)
    return kept, graphs, scaffolds, problems


def _parts(
    rows: SmilesRows, kept: list[int], scaffolds: list[str]
) -> tuple[dict[str, Tensor], str]:
    if not rows.parts:
        return scaffold_split(scaffolds, where=str(rows.path)), "Murcko scaffold split"
    told = np.array(rows.parts)[kept]
    parts = {part: torch.from_numpy(np.flatnonzero(told == part)) for part in PARTS}
    if absent := [part for part, indices in parts.items() if len(indices) == 0]:
        raise DataError(
            f"{rows.path} has a column 'split', but no usable row in {' and '.join(absent)}. All "
            "three of train, valid and test are needed; without that column the molecules are "
            "split by scaffold."
        )
    return parts, "split of the file's own column"


def _notes(rows: SmilesRows, labelled: NDArray[np.bool_], problems: list[str]) -> tuple[str, ...]:
    notes = []
    if problems:
        more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        notes.append(
            f"{len(problems):,} of {len(rows.smiles):,} molecules of {rows.path} can't be used and "
            f"are left out: {'; '.join(problems[:_SHOWN])}{more}"
        )
    unlabelled = np.flatnonzero(~labelled)
    if len(unlabelled):
        lines = ", ".join(str(rows.lines[index]) for index in unlabelled[:_SHOWN])
        more = ", ..." if len(unlabelled) > _SHOWN else ""
        notes.append(
            f"{len(unlabelled):,} of {len(rows.smiles):,} rows of {rows.path} have no label and "
            f"are left out: line {lines}{more}"
        )
    return tuple(notes)
