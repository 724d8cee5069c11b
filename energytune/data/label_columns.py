"""Columns of yes-or-no labels in a table, told from other columns by what they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energytune.errors import DataError, near_names

__all__ = ["LabelColumn", "choose_labels"]

_NO, _YES, _MISSING, _OTHER = range(4)
_MISSING_TEXTS = frozenset({"", "nan", "na", "none", "null"})
_LABEL_SHARE = 0.9
"""A column with at least this share of 0 and 1 among its filled cells is meant to be a label."""


class LabelColumn:
    """A column that may be a label; one byte a row.

    Args:
        name: Its name.

    Attributes:
        name: As given.
        n_known: Cells with 0 or 1.
        n_other: Cells that hold neither 0, 1 nor a blank.
        first_other: Line and text of the first of these.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.n_known = 0
        self.n_other = 0
        self.first_other: tuple[int, str] = (0, "")
        self._codes = bytearray()
        self._code_of: dict[str, int] = {"0": _NO, "1": _YES, "": _MISSING}

    def add(self, line: int, cell: str) -> None:
        """Takes the cell of the next row."""
        code = self._code_of.get(cell)
        if code is None:
            code = _code(cell)
            if code != _OTHER:  # few texts, met over and over
                self._code_of[cell] = code
        if code == _OTHER:
            if self.n_other == 0:
                self.first_other = (line, cell)
            self.n_other += 1
        elif code != _MISSING:
            self.n_known += 1
        self._codes.append(code)

    @property
    def looks_like_label(self) -> bool:
        """Whether nearly all filled cells are 0 or 1."""
        return self.n_known > 0 and self.n_known >= _LABEL_SHARE * (self.n_known + self.n_other)

    def values(self) -> NDArray[np.float32]:
        """Returns 0, 1, and NaN for a blank, (N,)."""
        meanings = np.array([0.0, 1.0, np.nan, np.nan], np.float32)
        return meanings[np.frombuffer(self._codes, np.uint8)]


def choose_labels(
    path: Path, columns: Sequence[LabelColumn], wanted: Sequence[str] | None
) -> list[LabelColumn]:
    """Returns the columns that are labels, in the order of ``wanted`` or of the file.

    Args:
        path: The file, for messages.
        columns: All columns that may be labels.
        wanted: Names of the label columns; None takes all that look like labels.

    Raises:
        DataError: A wanted column is not there, there is none, or one has a cell that is no
            label; names line, column and value.
    """
    if wanted is None:
        chosen = [column for column in columns if column.looks_like_label]
        if not chosen:
            raise _no_labels(path, columns)
    else:
        by_name = {column.name: column for column in columns}
        chosen = [
            by_name[name] if name in by_name else _absent(path, name, by_name) for name in wanted
        ]
    for column in chosen:
        if column.n_other:
            raise _not_a_label(path, column, named=wanted is not None)
        if column.n_known == 0:
            raise DataError(
                f"{path}, column {column.name!r}: all {len(column.values()):,} labels are missing. "
                "Name other columns: csv:PATH?labels=COLUMN,COLUMN."
            )
    return chosen


def _code(cell: str) -> int:
    text = cell.strip().casefold()
    if text in _MISSING_TEXTS:
        return _MISSING
    number = _number(text)
    return {0.0: _NO, 1.0: _YES}.get(number, _OTHER)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _absent(path: Path, name: str, by_name: dict[str, LabelColumn]) -> LabelColumn:
    near = near_names(name, by_name)
    told = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(list(by_name)[:20])}."
    raise DataError(f"{path} has no column {name!r} to take labels from. {told}")


def _not_a_label(path: Path, column: LabelColumn, *, named: bool) -> DataError:
    line, cell = column.first_other
    kind = "is no number" if math.isnan(_number(cell.strip())) else "is neither 0 nor 1"
    more = f" ({column.n_other:,} such cells in this column)" if column.n_other > 1 else ""
    advice = "Correct it"
    if not named:
        advice += ", or name the columns that are labels: csv:PATH?labels=COLUMN,COLUMN"
    return DataError(
        f"{path}, line {line}, column {column.name!r}: the label {cell!r} {kind}{more}. Labels are "
        f"1 for yes, 0 for no, or blank for missing. {advice}."
    )


def _no_labels(path: Path, columns: Sequence[LabelColumn]) -> DataError:
    """Returns the error for a file without a label column; tells which came nearest."""
    filled = [column for column in columns if column.n_known + column.n_other]
    if columns and not filled:
        return DataError(
            f"{path} has no labels: all cells of its other columns "
            f"({', '.join(column.name for column in columns[:10])}) are blank."
        )
    near = max(filled, key=lambda c: c.n_known / (c.n_known + c.n_other), default=None)
    if near is not None and near.n_known:
        return _not_a_label(path, near, named=False)
    return DataError(
        f"{path} has no label column: none of "
        f"{', '.join(repr(column.name) for column in columns[:20]) or 'its other columns'} "
        "holds 0, 1 and blanks only. Add one, with 1 for yes and 0 for no."
    )
