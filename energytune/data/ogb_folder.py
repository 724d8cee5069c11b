"""ogb's folders of molecular graphs, read by code of our own.

``FOLDER/raw`` holds the graphs as tables without a header, ``FOLDER/split/scaffold`` the official
split, and ``FOLDER/mapping/mol.csv.gz`` names of the labels and the SMILES ([Hu2020]_). The
graphs come with ogb's atom features, so that RDKit is not needed; bond features are not read.

.. [Hu2020] W. Hu et al. Open Graph Benchmark: datasets for machine learning on graphs. NeurIPS
   2020.
"""

from __future__ import annotations

import csv
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energytune.data.atoms import ATOM_CATEGORIES, ATOM_FEATURES, MAX_ATOMS
from energytune.data.gzipped import open_gzip_text
from energytune.data.molecule_arrays import MoleculeArrays
from energytune.data.molecule_table import PARTS, MoleculeTable, file_stamp
from energytune.data.number_table import read_numbers
from energytune.data.scaffold import scaffold_split
from energytune.data.smiles import murcko_scaffold, parse_smiles, quiet_rdkit, require_rdkit
from energytune.data.table_lines import table_lines
from energytune.errors import DataError

__all__ = ["missing_files", "read_ogb_folder", "stamps"]

_NODES = "raw/node-feat.csv.gz"
_EDGES = "raw/edge.csv.gz"
_LABELS = "raw/graph-label.csv.gz"
_N_NODES = "raw/num-node-list.csv.gz"
_N_EDGES = "raw/num-edge-list.csv.gz"
_MAPPING = "mapping/mol.csv.gz"
_SPLITS = tuple(f"split/scaffold/{part}.csv.gz" for part in PARTS)
_MAX_COUNT = 2**31
_NOT_LABELS = ("smiles", "mol_id")


def missing_files(folder: Path) -> list[str]:
    """Returns which files without which nothing can be read are not in ``folder``."""
    return [
        name
        for name in (_NODES, _EDGES, _LABELS, _N_NODES, _N_EDGES)
        if not (folder / name).is_file()
    ]


def stamps(folder: Path) -> list[str]:
    """Returns text that changes when one of the files does."""
    names = (_NODES, _EDGES, _LABELS, _N_NODES, _N_EDGES, _MAPPING, *_SPLITS)
    return [file_stamp(folder / name) for name in names if (folder / name).is_file()]


def read_ogb_folder(folder: Path) -> MoleculeTable:
    """Reads all graphs, their labels and the official scaffold split.

    Where the folder has no split, the SMILES of its mapping are split by scaffold.

    Raises:
        DataError: A file is damaged, or files don't agree; names file, line or molecule.
        MissingDataError: The split is missing, and RDKit with it.
    """
    n_atoms = _counts(folder / _N_NODES)
    n_bonds = _counts(folder / _N_EDGES)
    labels = read_numbers(folder / _LABELS, blanks=True)
    _check_equal(folder, len(n_atoms), "molecules", _N_NODES, len(n_bonds), _N_EDGES)
    _check_equal(folder, len(n_atoms), "molecules", _N_NODES, len(labels), _LABELS)
    atoms = _atoms(folder / _NODES)
    bonds = read_numbers(folder / _EDGES, n_columns=2).astype(np.int64)
    _check_equal(folder, int(n_atoms.sum()), "atoms", _N_NODES, len(atoms), _NODES)
    _check_equal(folder, int(n_bonds.sum()), "bonds", _N_EDGES, len(bonds), _EDGES)
    _check_bonds(folder, bonds, n_atoms, n_bonds)
    _check_label_values(folder / _LABELS, labels)
    molecules = MoleculeArrays.from_bonds(atoms, n_atoms.astype(np.int32), bonds, n_bonds)
    parts, split = _parts(folder, len(n_atoms))
    parts, notes = _without_giants(parts, n_atoms)
    table = MoleculeTable(
        molecules=molecules,
        labels=torch.from_numpy(labels.astype(np.float32)),
        label_names=_label_names(folder, labels.shape[1]),
        parts=parts,
        split=split,
        notes=notes,
    )
    return table.without_unlabelled()


def _counts(path: Path) -> NDArray[np.int64]:
    counts = read_numbers(path, n_columns=1)[:, 0]
    bad = np.flatnonzero(~((counts >= 0) & (counts < _MAX_COUNT) & (counts % 1 == 0)))
    if len(bad):
        raise DataError(
            f"{path}, line {bad[0] + 1}: a count must be a whole number >= 0, got "
            f"{counts[bad[0]]:g}."
        )
    return counts.astype(np.int64)


def _atoms(path: Path) -> NDArray[np.uint8]:
    atoms = read_numbers(path, n_columns=len(ATOM_CATEGORIES))
    bad = np.argwhere((atoms < 0) | (atoms >= np.array(ATOM_CATEGORIES)) | (atoms % 1 != 0))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"{path}, line {row + 1}: {ATOM_FEATURES[column]} must be a whole number in "
            f"[0, {ATOM_CATEGORIES[column] - 1}] (column {column + 1}), got "
            f"{atoms[row, column]:g}. The atoms are numbered otherwise than ogb does."
        )
    return atoms.astype(np.uint8)


def _check_equal(
    folder: Path, n_first: int, what: str, first: str, n_second: int, second: str
) -> None:
    if n_first != n_second:
        raise DataError(
            f"The files in {folder} don't agree: {first} tells of {n_first:,} {what}, {second} of "
            f"{n_second:,}. One of them was not unpacked whole: unpack the archive again."
        )


def _check_bonds(
    folder: Path, bonds: NDArray[np.int64], n_atoms: NDArray[np.int64], n_bonds: NDArray[np.int64]
) -> None:
    limit = np.repeat(n_atoms, n_bonds)[:, None]
    bad = np.argwhere((bonds < 0) | (bonds >= limit))
    if len(bad):
        row = int(bad[0, 0])
        molecule = int(np.searchsorted(np.cumsum(n_bonds), row, side="right"))
        raise DataError(
            f"{folder / _EDGES}, line {row + 1}: the bond {bonds[row].tolist()} of molecule "
            f"{molecule} must be between atoms 0 to {n_atoms[molecule] - 1}."
        )


def _check_label_values(path: Path, labels: NDArray[np.float64]) -> None:
    bad = np.argwhere(~np.isnan(labels) & (labels != 0) & (labels != 1))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"{path}, line {row + 1}, column {column + 1}: a label must be 0, 1 or blank, got "
            f"{labels[row, column]:g}."
        )


def _without_giants(
    parts: dict[str, Tensor], n_atoms: NDArray[np.int64]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    fits = torch.from_numpy(n_atoms <= MAX_ATOMS)
    if bool(fits.all()):
        return parts, ()
    kept = {part: indices[fits[indices]] for part, indices in parts.items()}
    n_giants = int((~fits).sum())
    return kept, (f"{n_giants:,} molecules of more than {MAX_ATOMS:,} atoms are left out",)


def _parts(folder: Path, n_molecules: int) -> tuple[dict[str, Tensor], str]:
    """Returns the indices of train, valid and test, and where they come from."""
    if not all((folder / name).is_file() for name in _SPLITS):
        smiles = _smiles(folder, n_molecules)
        with quiet_rdkit():
            found = [parse_smiles(text) for text in smiles]
            scaffolds = ["" if m is None else murcko_scaffold(m) for m in found]
        return scaffold_split(scaffolds, where=str(folder)), "Murcko scaffold split"
    owner = np.full(n_molecules, -1)
    parts = {}
    for number, (part, name) in enumerate(zip(PARTS, _SPLITS, strict=True)):
        indices = _counts(folder / name)
        for line, index in enumerate(indices.tolist(), start=1):
            if index >= n_molecules or owner[index] >= 0:
                why = (
                    f"there are {n_molecules:,} molecules"
                    if index >= n_molecules
                    else f"it is in {PARTS[owner[index]]} already"
                )
                raise DataError(
                    f"{folder / name}, line {line}: molecule {index} can't be in {part}: {why}."
                )
            owner[index] = number
        parts[part] = torch.from_numpy(np.sort(indices))
    return parts, "official scaffold split"


@contextmanager
def _mapping(path: Path) -> Iterator[TextIO]:
    """Opens the mapping; what is wrong with it is a DataError."""
    try:
        with open_gzip_text(path, errors="replace") as file:
            yield file
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(
            f"{path} is damaged or was not unpacked whole: {error}. Unpack the archive again."
        ) from error


def _smiles(folder: Path, n_molecules: int) -> list[str]:
    path = folder / _MAPPING
    if not path.is_file():
        raise DataError(
            f"{folder} has neither split/scaffold/*.csv.gz nor {_MAPPING}, so it can't be split. "
            "Unpack the archive again."
        )
    require_rdkit(f"{folder} has no split/scaffold/*.csv.gz, and splitting it")
    with _mapping(path) as file:
        smiles = [row.get("smiles") or "" for row in csv.DictReader(table_lines(path, file))]
    _check_equal(folder, n_molecules, "molecules", _N_NODES, len(smiles), _MAPPING)
    return smiles


def _label_names(folder: Path, n_labels: int) -> tuple[str, ...]:
    """Returns the names in the mapping's header; numbered ones if it is not there."""
    path = folder / _MAPPING
    if path.is_file():
        with _mapping(path) as file:
            header = next(iter(csv.reader(itertools.islice(table_lines(path, file), 1))), [])
        names = tuple(name for name in header if name not in _NOT_LABELS)
        if len(names) == n_labels:
            return names
    return tuple(f"label {number}" for number in range(n_labels))
