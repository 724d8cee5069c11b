"""Tables of numbers without a header, plain or gzipped: fast, and with the line in every error."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from energytune.data.gzipped import open_gzip, open_gzip_text
from energytune.data.table_lines import MAX_COLUMNS, table_lines
from energytune.errors import DataError

__all__ = ["read_numbers"]


def read_numbers(
    path: Path, *, n_columns: int | None = None, blanks: bool = False
) -> NDArray[np.float64]:
    """Returns the numbers, (N, C) float64, NaN for a blank cell.

    Args:
        path: A .csv.gz file.
        n_columns: C, if it is known.
        blanks: Whether cells may be blank.

    Raises:
        DataError: The file is damaged, a row has another number of columns, or a cell is no
            number; names the line.
    """
    try:
        width = _n_columns(path, n_columns)
        # Blank lines are rows of one blank cell. Columns are counted here: pandas fills what is
        # too short with blanks and cuts off what is too long, without a word.
        with open_gzip(path) as file:
            numbers = pd.read_csv(
                file,
                header=None,
                names=list(range(width)),
                index_col=False,
                skip_blank_lines=False,
                dtype=np.float64,
            ).to_numpy()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or was not unpacked whole: {error}. Unpack the archive again."
        ) from error
    except DataError:
        raise
    except (ValueError, _Ragged) as error:
        raise _first_problem(path, n_columns, blanks, str(error)) from error
    if not blanks and bool(np.isnan(numbers).any()):
        raise _first_problem(path, n_columns, blanks, "a cell is blank")
    return np.ascontiguousarray(numbers)


class _Ragged(Exception):  # noqa: N818 - no user sees it
    """Rows differ in their number of columns."""


def _n_columns(path: Path, expected: int | None) -> int:
    """Returns the number of columns, the same in every row.

    Raises:
        _Ragged: Some row has another number.
        DataError: There are too many.
    """
    with open_gzip(path) as file:
        counts = {line.count(b",") + 1 for line in file}
    if max(counts, default=1) > MAX_COLUMNS:
        raise DataError(f"{path} has a row of over {MAX_COLUMNS:,} columns. Unpack it again.")
    if len(counts | {expected or max(counts, default=1)}) > 1:
        raise _Ragged("its rows differ in their number of columns")
    return expected or max(counts, default=1)


def _first_problem(path: Path, n_columns: int | None, blanks: bool, cause: str) -> DataError:
    """Returns the error for the first line that is wrong, found by a slower reader."""
    with open_gzip_text(path, errors="replace") as file:
        for line, cells in enumerate(_rows(path, file), start=1):
            cells = cells or [""]
            n_columns = len(cells) if n_columns is None else n_columns
            if len(cells) != n_columns:
                return DataError(
                    f"{path}, line {line}: a row of {len(cells)} columns, expected {n_columns}."
                )
            for column, cell in enumerate(cells, start=1):
                if not (blanks and not cell.strip()) and not _is_number(cell):
                    return DataError(
                        f"{path}, line {line}, column {column}: must be a number, got {cell!r}."
                    )
    return DataError(f"{path} can't be read: {cause}.")


def _rows(path: Path, file: TextIO) -> Iterator[list[str]]:
    reader = csv.reader(table_lines(path, file))
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: it can't be read ({error}).") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
