"""How an experiment's rows become files and a printed table."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import metadata, write_csv, write_json
from benchmarks.paper.settings import Settings

__all__ = ["paths", "print_table", "read_rows", "rounded", "write_results"]


def paths(settings: Settings, experiment: str) -> dict[str, Path]:
    """Returns the files of an experiment: raw rows, summary, metadata and figure."""
    stem = f"{experiment}-{settings.name}"
    return {
        "rows": settings.out / f"{stem}.csv",
        "summary": settings.out / f"{stem}-summary.csv",
        "json": settings.out / f"{stem}.json",
        "figure": settings.out / f"{stem}.png",
    }


def write_results(
    settings: Settings,
    experiment: str,
    rows: Sequence[Mapping[str, Any]],
    summary: Sequence[Mapping[str, Any]],
    *,
    wall_s: float,
    metric: str,
    **more: Any,
) -> None:
    """Writes raw rows, summary, and what they were measured on.

    Args:
        settings: The task and the folder.
        experiment: Name of the experiment.
        rows: One a seed and setting.
        summary: Means and differences over seeds with their intervals.
        wall_s: Seconds it took now, when some of it may have been there already. Beside it,
            ``arms_s`` sums up what the runs of these rows took when they were computed.
        metric: What scores measure, such as ``"accuracy"``.
        more: Further JSON values.
    """
    files = paths(settings, experiment)
    write_csv(files["rows"], [rounded(row) for row in rows])
    write_csv(files["summary"], [rounded(row) for row in summary])
    told = {
        "dataset": settings.dataset,
        "backbone": settings.backbone,
        "checkpoint": None if settings.checkpoint is None else settings.checkpoint.name,
        "weights": settings.weights,
        "seeds": settings.n_seeds,
        "backbone_per_seed": settings.own_backbones,
        "space": settings.space.model_dump(mode="json"),
        "jobs": settings.jobs,
        "threads": settings.n_threads,
    }
    spent = math.fsum(float(row.get("seconds", 0.0)) for row in rows)
    head = metadata(
        settings=told, metric=metric, wall_s=round(wall_s, 1), arms_s=round(spent, 1), **more
    )
    write_json(files["json"], head)
    print(f"  {files['rows']}")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a CSV; what looks like a number becomes one, and an empty number NaN."""
    with path.open(newline="") as file:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]


def print_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints a table whose first column is aligned left and whose others are aligned right."""
    table = [list(header), *([str(cell) for cell in line] for line in lines)]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    print(f"\n{title}")
    for line in table:
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print("  " + "  ".join([line[0].ljust(widths[0]), *rest]))


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row as it is written: floats with six digits."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else f"{value:.6g}"
    return value


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
