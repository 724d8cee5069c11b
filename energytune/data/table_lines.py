"""Lines of a table, none of which is longer than a memory can take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from energytune.errors import DataError

__all__ = ["MAX_COLUMNS", "MAX_LETTERS", "table_lines"]

MAX_COLUMNS = 20_000
"""Most columns of a table; of labels, the largest benchmarks have 1,328."""
MAX_LETTERS = 16 << 20
"""Of a line."""


def table_lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yields the lines of an open file, ends included.

    Raises:
        DataError: A line has more than :data:`MAX_LETTERS`; names it.
    """
    number = 0
    while line := file.readline(MAX_LETTERS + 1):
        number += 1
        if len(line) > MAX_LETTERS:
            raise DataError(
                f"{path}, line {number}: over {MAX_LETTERS:,} letters without an end. It is no "
                "table, or its line ends are lost."
            )
        yield line
