"""Tables with a SMILES column, such as MoleculeNet's, read by column name.

Python's own csv module reads them: quotes, line breaks within them, a byte-order mark, blank
lines and a last line without an end are no trouble. A broken row is an error that names its line.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from energytune.data.gzipped import open_gzip_text
from energytune.data.label_columns import LabelColumn, choose_labels
from energytune.data.table_lines import MAX_COLUMNS, MAX_LETTERS, table_lines
from energytune.errors import DataError

__all__ = ["SmilesRows", "read_smiles_csv"]

_SMILES_NAMES = ("smiles", "mol", "canonical_smiles")
_PART_OF = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}


@dataclass
class SmilesRows:
    """The rows of a file, before any SMILES is looked at.

    Attributes:
        path: The file.
        smiles: N texts.
        lines: Line of the file on which each row begins, from 1.
        labels: (N, L) float32, NaN where missing.
        label_names: L names.
        parts: ``"train"``, ``"valid"`` or ``"test"`` for each row; empty if no column says.
    """

    path: Path
    smiles: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    labels: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    label_names: tuple[str, ...] = ()
    parts: list[str] = field(default_factory=list)


def read_smiles_csv(
    path: Path, *, smiles: str | None = None, labels: Sequence[str] | None = None
) -> SmilesRows:
    """Reads a .csv or .csv.gz file.

    Args:
        path: The file; commas, semicolons or tabs part its columns.
        smiles: Name of the column with the SMILES; None takes the one called ``smiles``, ``mol``
            or ``canonical_smiles``, in any case.
        labels: Names of the label columns; None takes all columns of 0, 1 and blanks.

    Raises:
        DataError: The file is damaged, a row is ragged, a column is missing or a label is neither
            0, 1 nor missing; names file, line and column.
    """
    try:
        with _opened(path) as file:
            return _read(path, file, smiles, labels)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {error.start} is {error.object[error.start]:#04x}). "
            "Save it as UTF-8."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or was not downloaded whole: {error}. Download it again."
        ) from error


def _opened(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return open_gzip_text(path, "utf-8-sig")
    return path.open(encoding="utf-8-sig", newline="")


def _read(path: Path, file: TextIO, smiles: str | None, labels: Sequence[str] | None) -> SmilesRows:
    records = _records(path, file)
    header_line, header = next(records, (1, []))
    header = [name.strip() for name in header]
    _check_header(path, header_line, header)
    smiles_at = _smiles_column(path, header, smiles)
    split_at = next((i for i, name in enumerate(header) if name.casefold() == "split"), None)
    columns = {
        i: LabelColumn(name) for i, name in enumerate(header) if i not in (smiles_at, split_at)
    }
    rows = SmilesRows(path)
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: a row of {len(cells)} columns, but the header on line "
                f"{header_line} has {len(header)}. Correct the row: text with a comma needs quotes."
            )
        rows.smiles.append(cells[smiles_at].strip())
        rows.lines.append(line)
        for i, column in columns.items():
            column.add(line, cells[i])
        if split_at is not None:
            rows.parts.append(_part(path, line, header[split_at], cells[split_at]))
    if not rows.smiles:
        raise DataError(f"{path} has a header and no row below it: no molecule to read.")
    chosen = choose_labels(path, list(columns.values()), labels)
    rows.labels = np.stack([column.values() for column in chosen], axis=1)
    rows.label_names = tuple(column.name for column in chosen)
    return rows


def _records(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yields the line on which each record begins and its cells; blank lines are passed over."""
    first = file.readline(MAX_LETTERS)
    while first and not first.strip():
        first = file.readline(MAX_LETTERS)
    delimiter = max(",;\t", key=first.count)
    file.seek(0)
    reader = csv.reader(table_lines(path, file), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells and (len(cells) > 1 or cells[0].strip()):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: the row can't be read ({error}). Correct its quotes."
        ) from error


def _check_header(path: Path, line: int, header: list[str]) -> None:
    if not header:
        raise DataError(f"{path} is empty: a header with the columns' names must come first.")
    if len(header) > MAX_COLUMNS:
        raise DataError(
            f"{path}, line {line}: {len(header):,} columns, more than {MAX_COLUMNS:,}. Give the "
            "SMILES and the labels alone."
        )
    counts = Counter(header)
    twice = sorted(name for name, n_times in counts.items() if n_times > 1)
    if twice:
        raise DataError(
            f"{path}, line {line}: the column {twice[0]!r} stands in the header "
            f"{counts[twice[0]]} times. Give every column a name of its own."
        )


def _smiles_column(path: Path, header: list[str], wanted: str | None) -> int:
    names = _SMILES_NAMES if wanted is None else (wanted.casefold(),)
    folded = [name.casefold() for name in header]
    for name in names:
        if name in folded:
            return folded.index(name)
    asked = "called smiles, mol or canonical_smiles" if wanted is None else f"called {wanted!r}"
    raise DataError(
        f"{path} has no column {asked}. Its columns are: {', '.join(header[:20])}"
        f"{', ...' if len(header) > 20 else ''}. Name the one with the SMILES: "
        "csv:PATH?smiles=COLUMN."
    )


def _part(path: Path, line: int, column: str, cell: str) -> str:
    part = _PART_OF.get(cell.strip().casefold())
    if part is None:
        raise DataError(
            f"{path}, line {line}, column {column!r}: must be train, valid or test, got {cell!r}. "
            "Correct it, or rename the column if it is no split."
        )
    return part
