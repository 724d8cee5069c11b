"""What is named on a command line, as raw inputs: files, folders, tables, lines of text.

A missing file or an empty folder is no error here: it becomes an input that can't be read, so
that all problems are told together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energytune.data.image_reading import is_image_name
from energytune.errors import DataError
from energytune.serving.input_tables import is_table, read_column, read_table, read_values

__all__ = ["RawInput", "read_sources"]

_PATH_COLUMNS = ("path", "image", "file", "filename")
_SMILES_COLUMNS = ("smiles", "mol", "canonical_smiles")
_LINE_SUFFIXES = (".smi", ".txt")


@dataclass(frozen=True)
class RawInput:
    """One input.

    Attributes:
        name: What a person calls it: its path, its SMILES, or a line of a table.
        raw: What ``Predictor.predict`` takes; None if there is a problem.
        problem: Why it can't be read; empty if it can.
    """

    name: str
    raw: Any
    problem: str = ""

    def read(self) -> Any:
        """Returns the raw input.

        Raises:
            DataError: It has a problem.
        """
        if self.problem:
            raise DataError(self.problem)
        return self.raw


def read_sources(
    named: Iterable[str], kind: str, lines: Iterable[str] = (), *, n_values: int = 0
) -> list[RawInput]:
    """Returns the inputs that are named.

    For images: files, folders (with all in them, sorted), tables with a column ``path`` or
    ``image`` (relative to the table), and ``-`` for one path a line. For molecules: SMILES,
    tables with a column ``smiles``, ``.smi`` and ``.txt`` files, and ``-`` for one SMILES a line.
    For numbers: tables with one column each, and ``.npy`` files.

    Args:
        named: As on the command line.
        kind: Of the model's preprocessing: ``"image"``, ``"pixels"``, ``"smiles"``, ``"ready"``.
        lines: What ``-`` stands for.
        n_values: Numbers of one input, where numbers are taken.

    Raises:
        DataError: A table can't be read.
    """
    found: list[RawInput] = []
    for name in named:
        if name == "-":
            found += _from_lines(lines, kind)
        elif kind == "smiles":
            found += _molecules(name)
        else:
            found += _files(Path(name), kind, n_values)
    return found


def _from_lines(lines: Iterable[str], kind: str) -> Iterator[RawInput]:
    for line in lines:
        text = line.strip()
        if text:
            yield RawInput(text, text) if kind == "smiles" else _file(Path(text))


def _molecules(name: str) -> list[RawInput]:
    path = Path(name)
    if is_table(name):
        if not path.is_file():
            return [_missing(path)]
        return [
            RawInput(f"{path}, line {line}", text)
            for line, text in read_column(path, _SMILES_COLUMNS)
        ]
    if path.suffix in _LINE_SUFFIXES:
        if not path.is_file():
            return [_missing(path)]
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [
            RawInput(f"{path}, line {number}", line.split()[0])  # a name may follow
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
    return [RawInput(name, name)]


def _files(path: Path, kind: str, n_values: int) -> list[RawInput]:
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if _is_shown_image(file, path))
        none = RawInput(str(path), None, "the folder holds no image")
        return [RawInput(str(file), file) for file in inside] or [none]
    if not path.is_file():
        return [_missing(path)]
    if path.suffix == ".npy" and kind != "image":
        return _array(path)
    if is_table(path.name):
        return _table(path, kind, n_values)
    return [RawInput(str(path), path)]


def _table(path: Path, kind: str, n_values: int) -> list[RawInput]:
    header, _ = read_table(path)
    is_list_of_files = any(name.casefold() in _PATH_COLUMNS for name in header)
    if kind == "image" or (kind == "pixels" and is_list_of_files):
        return [
            _file(path.parent / text, f"{path}, line {line} ({text})")
            for line, text in read_column(path, _PATH_COLUMNS)
        ]
    return [
        RawInput(f"{path}, line {line}", values) for line, values in read_values(path, n_values)
    ]


def _array(path: Path) -> list[RawInput]:
    try:
        # mapped: the size of the file must be that of the shape in its header
        rows = np.lib.format.open_memmap(path, mode="r")
    except Exception as failure:  # NumPy's reader of headers raises what Python's tokenizer does
        return [RawInput(str(path), None, f"it is no array of numbers ({failure})")]
    if rows.ndim < 2:
        return [RawInput(str(path), None, f"it has the shape {rows.shape}, one row an input")]
    return [RawInput(f"{path}[{index}]", row) for index, row in enumerate(rows)]


def _file(path: Path, name: str | None = None) -> RawInput:
    if not path.is_file():
        return RawInput(name or str(path), None, "there is no such file")
    return RawInput(name or str(path), path)


def _missing(path: Path) -> RawInput:
    return RawInput(str(path), None, "there is no such file or folder")


def _is_shown_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and is_image_name(file.name) and file.is_file()
