"""Molecular datasets on disk: ogb's folders, MoleculeNet's tables, and any table of SMILES."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from energytune.data.csv_name import parse_csv_name
from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.molecule_splits import molecule_splits
from energytune.data.molecule_table import MoleculeTable, cached_table, file_stamp
from energytune.data.ogb_folder import missing_files, read_ogb_folder, stamps
from energytune.data.smiles import rdkit_version, require_rdkit
from energytune.data.smiles_csv import read_smiles_csv
from energytune.data.smiles_table import molecule_table
from energytune.data.splits import Splits
from energytune.errors import DataError, MissingDataError
from energytune.progress import Progress

__all__ = ["SOURCES", "ensure", "load", "status"]

_OGB_URL = "http://snap.stanford.edu/ogb/data/graphproppred/csv_mol_download"
_MOLECULENET_URL = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets"


@dataclass(frozen=True)
class Source:
    """Where a named dataset may lie below the data root, and where it comes from.

    Attributes:
        folders: Names of ogb's folder, the usual one first.
        tables: Names of MoleculeNet's file, the usual one first.
        labels: The table's label columns; None takes all columns of labels.
        urls: Archive of the folder, and the table.
    """

    folders: tuple[str, ...]
    tables: tuple[str, ...]
    urls: tuple[str, str]
    labels: tuple[str, ...] | None = None


SOURCES = {
    "moltox21": Source(
        ("ogbg_moltox21", "ogbg-moltox21"),
        ("tox21.csv.gz", "tox21.csv"),
        (f"{_OGB_URL}/tox21.zip", f"{_MOLECULENET_URL}/tox21.csv.gz"),
    ),
    "molhiv": Source(
        ("ogbg_molhiv", "ogbg-molhiv"),
        ("HIV.csv", "hiv.csv", "HIV.csv.gz", "hiv.csv.gz"),
        (f"{_OGB_URL}/hiv.zip", f"{_MOLECULENET_URL}/HIV.csv"),
        labels=("HIV_active",),
    ),
    "molpcba": Source(
        ("ogbg_molpcba", "ogbg-molpcba"),
        ("pcba.csv.gz", "pcba.csv"),
        (f"{_OGB_URL}/pcba.zip", f"{_MOLECULENET_URL}/pcba.csv.gz"),
    ),
}
"""The datasets with names of their own."""


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks for the folder or the table, as ``Family`` says."""
    if entry.name not in SOURCES:
        path = parse_csv_name(entry.name).path
        return (True, f"in {path}") if path.is_file() else (False, f"not in {path}")
    found = _found(entry, root)
    if found is not None:
        return True, f"in {found}"
    source = SOURCES[entry.name]
    folder = root / source.folders[0]
    if folder.is_dir():
        return False, f"not in {folder} (missing: {', '.join(missing_files(folder))})"
    return False, f"neither in {folder} nor in {root / source.tables[0]}"


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Checks that the files are there; these datasets are not downloaded.

    Raises:
        MissingDataError: They are not, or RDKit is needed to read them and is missing.
    """
    there, where = status(entry, root)
    if not there and entry.name not in SOURCES:
        raise MissingDataError(
            f"{parse_csv_name(entry.name).path} does not exist. Name a file: csv:PATH."
        )
    if not there:
        archive, table = SOURCES[entry.name].urls
        source = SOURCES[entry.name]
        raise MissingDataError(
            f"Dataset {entry.name!r} is {where}. Get one of the two and put it there, or name "
            f"another folder with --data-root DIR:\n  {archive}\n    unpacked as "
            f"{root / source.folders[0]} (with the official split)\n  {table}\n    as "
            f"{root / source.tables[0]} (split by scaffold; needs RDKit)"
        )
    found = _found(entry, root)
    if found is None or not found.is_dir():
        require_rdkit(f"Reading SMILES from {found or parse_csv_name(entry.name).path}")


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the splits, as ``Family`` says."""
    found = _found(entry, request.root)
    if found is not None and found.is_dir():
        name, where = entry.name, found
        table = cached_table(stamps(found), lambda: read_ogb_folder(found))
    elif found is not None:
        name, where = entry.name, found
        table = _read_table(found, None, SOURCES[entry.name].labels, request.progress)
    else:
        told = parse_csv_name(entry.name)
        name, where = told.title, told.path
        table = _read_table(told.path, told.smiles, told.labels, request.progress)
    if entry.n_classes and len(table.label_names) != entry.n_classes:
        raise DataError(
            f"{where} has {len(table.label_names)} labels, but {entry.name} has "
            f"{entry.n_classes}: it is another dataset. Name it by its path: csv:PATH."
        )
    return molecule_splits(table, name=name, progress=request.progress)


def _found(entry: DatasetEntry, root: Path) -> Path | None:
    """Returns the folder or table of a named dataset; None if neither is there."""
    source = SOURCES.get(entry.name)
    if source is None:
        return None
    folders = (root / name for name in source.folders)
    whole = (folder for folder in folders if folder.is_dir() and not missing_files(folder))
    tables = (root / name for name in source.tables if (root / name).is_file())
    return next(whole, None) or next(tables, None)


def _read_table(
    path: Path, smiles: str | None, labels: tuple[str, ...] | None, progress: Progress
) -> MoleculeTable:
    def read() -> MoleculeTable:
        return molecule_table(read_smiles_csv(path, smiles=smiles, labels=labels), progress)

    return cached_table([file_stamp(path), f"{smiles} {labels}", rdkit_version()], read)
