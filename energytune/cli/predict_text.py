"""Predictions as a table for a person, as JSON lines, and as CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from energytune.paths import atomic_file

if TYPE_CHECKING:
    from energytune.serving import Prediction, Predictor

__all__ = ["json_lines", "print_table", "write_csv"]

_MAX_SHOWN = 5  # labels and classes in one line of the table

Row = tuple[str, "Prediction", Path | None]


def json_lines(rows: Iterable[Row], problems: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields one JSON document for each input, then one for each that can't be used."""
    for name, prediction, mask in rows:
        masked = {} if mask is None else {"mask": str(mask)}
        yield json.dumps({"input": name, **prediction.to_dict(), **masked}, ensure_ascii=False)
    for name, reason in problems:
        yield json.dumps({"input": name, "error": reason}, ensure_ascii=False)


def write_csv(rows: Sequence[Row], predictor: Predictor, path: Path) -> None:
    """Writes a CSV file, or to stdout if the path is ``-``.

    Columns are ``input``, ``class_name`` and ``probability``, and with more than one class asked
    for ``class_name_2`` and so on; for labels one column each; for pixels one share each.

    Raises:
        OutputError: The file can't be written.
    """
    if path == Path("-"):
        _write(rows, predictor, sys.stdout)
        return
    text = io.StringIO(newline="")
    _write(rows, predictor, text)
    with atomic_file(path, "Choose another file for --csv.") as file:
        file.write(text.getvalue().encode())


def print_table(rows: Sequence[Row], predictor: Predictor) -> None:
    """Prints a table on stdout."""
    from rich.table import Table

    from energytune.cli.display import make_console

    table = Table(box=None, pad_edge=False)
    table.add_column("input", overflow="fold")
    table.add_column({"classes": "class", "labels": "labels", "pixels": "classes"}[predictor.kind])
    table.add_column("share of pixels" if predictor.kind == "pixels" else "probability")
    for name, prediction, mask in rows:
        shown = prediction.top[:_MAX_SHOWN] if predictor.kind != "classes" else prediction.top
        values = ", ".join(f"{label} {100 * value:.1f} %" for label, value in shown)
        if predictor.kind == "classes" and len(shown) == 1:
            values = f"{100 * shown[0][1]:.1f} %"
        names = prediction.class_names[:_MAX_SHOWN] if prediction.class_names else ("none",)
        more = ", ..." if len(prediction.class_names) > _MAX_SHOWN else ""
        table.add_row(name, ", ".join(names) + more, values + (f" -> {mask}" if mask else ""))
    make_console().print(table)


def _write(rows: Sequence[Row], predictor: Predictor, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    if predictor.kind == "classes":
        n_top = max((len(prediction.top) for _, prediction, _ in rows), default=1)
        ranks = ["", *(f"_{rank}" for rank in range(2, n_top + 1))]
        header = [f"{key}{rank}" for rank in ranks for key in ("class_name", "probability")]
        writer.writerow(["input", *header])
        for name, prediction, _ in rows:
            cells = [cell for label, value in prediction.top for cell in (label, _number(value))]
            writer.writerow([name, *cells])
        return
    writer.writerow(["input", "class_names", *predictor.class_names])
    for name, prediction, _ in rows:
        values = map(_number, prediction.probs.tolist())
        writer.writerow([name, ";".join(prediction.class_names), *values])


def _number(value: Any) -> str:
    return f"{float(value):.6g}"
