"""Tables of inputs: a column of paths or SMILES, or the numbers of one input in each row.

Commas, semicolons or tabs part the columns; a file may be gzipped.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from energytune.data.gzipped import open_gzip_text
from energytune.data.table_lines import MAX_LETTERS, table_lines
from energytune.errors import DataError

__all__ = ["is_table", "read_column", "read_table", "read_values"]

_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

Row = tuple[int, list[str]]
"""Line of the file on which a row begins, from 1, and its cells."""


def is_table(name: str) -> bool:
    """Returns whether a file of that name is read as a table."""
    return name.lower().endswith(_SUFFIXES)


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Returns the first row, stripped, and all rows below it; blank lines are passed over.

    Raises:
        DataError: The file can't be read, is empty, or a row is ragged; names the line.
    """
    try:
        with _opened(path) as file:
            first = file.readline(MAX_LETTERS)
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(table_lines(path, file), delimiter=delimiter, strict=True)
            rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as failure:
        raise DataError(
            f"{path} can't be read as a table: {failure}. Save it as a CSV file in UTF-8."
        ) from failure
    if not rows:
        raise DataError(f"{path} is empty. Give it a header and a row for each input.")
    (_, header), *rest = rows
    for line, cells in rest:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: a row of {len(cells)} columns, but the first row has "
                f"{len(header)}. Correct the row: text with a comma needs quotes."
            )
    return [name.strip() for name in header], rest


def read_column(path: Path, names: Sequence[str]) -> list[tuple[int, str]]:
    """Returns line and text of each row's cell in the first column that has one of the names.

    Raises:
        DataError: There is no such column, or the table can't be read.
    """
    header, rows = read_table(path)
    folded = [name.casefold() for name in header]
    for name in names:
        if name in folded:
            column = folded.index(name)
            return [(line, cells[column].strip()) for line, cells in rows]
    raise DataError(
        f"{path} has no column {' or '.join(map(repr, names))}. Its columns are: "
        f"{', '.join(header[:20])}{', ...' if len(header) > 20 else ''}. Rename the one to read."
    )


def read_values(path: Path, n_values: int) -> list[tuple[int, list[str]]]:
    """Returns line and cells of each row, the first one too if it is of numbers.

    Raises:
        DataError: There are not ``n_values`` columns, or the table can't be read.
    """
    header, rows = read_table(path)
    if len(header) != n_values:
        raise DataError(
            f"{path} has {len(header)} columns, but this model takes {n_values} numbers an input: "
            "one column each, nothing else."
        )
    return ([(1, header)] if all(map(_is_number, header)) else []) + rows


def _opened(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return open_gzip_text(path, "utf-8-sig")
    return path.open(encoding="utf-8-sig", newline="")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
