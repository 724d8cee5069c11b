"""The table's files: one Parquet file a task and kind, made of one part a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tabular.grid import N_SEEDS, TASKS

__all__ = ["DATA", "MAP_COST", "PARTS", "Parts", "merge", "write_cell"]

DATA = Path(__file__).parent / "data"
MAP_COST = DATA / "map_cost.csv"
"""Task, CPU seconds of its energy map."""
_COMPRESSION = {"compression": "zstd", "compression_level": 19}


@dataclass(frozen=True)
class Parts:
    """Where computed cells lie until they are merged.

    Attributes:
        root: Folder, not under version control.
    """

    root: Path

    def cell(self, task: str, seed: int) -> Path:
        """Returns the file of a cell's finetunes, which is written last."""
        return self.root / f"{task}-s{seed}-runs.parquet"

    def probes(self, task: str, seed: int) -> Path:
        """Returns the file of a cell's probes."""
        return self.root / f"{task}-s{seed}-probes.parquet"


PARTS = Parts(DATA / "parts")


def write_cell(
    task: str, seed: int, probes: Iterable[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> None:
    """Writes what was computed for one task and seed."""
    PARTS.root.mkdir(parents=True, exist_ok=True)
    for path, rows in ((PARTS.probes(task, seed), probes), (PARTS.cell(task, seed), runs)):
        table = pa.Table.from_pylist([{"seed": seed, **row} for row in rows])
        unfinished = path.with_suffix(".part")
        pq.write_table(_compact(table), unfinished, **_COMPRESSION)
        unfinished.replace(path)


def merge(tasks: Iterable[str] = TASKS) -> list[Path]:
    """Writes ``data/<task>-runs.parquet`` and ``-probes.parquet`` where all seeds are computed."""
    written = []
    for task in tasks:
        seeds = range(N_SEEDS)
        if not all(PARTS.cell(task, seed).exists() for seed in seeds):
            continue
        for kind, part in (("runs", PARTS.cell), ("probes", PARTS.probes)):
            path = DATA / f"{task}-{kind}.parquet"
            table = pa.concat_tables([pq.read_table(part(task, seed)) for seed in seeds])
            pq.write_table(table, path, **_COMPRESSION)
            written.append(path)
    return written


def _compact(table: pa.Table) -> pa.Table:
    """Returns the table with single precision: an accuracy is a count of at most 1,000."""

    def smaller(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_floating(kind):
            return pa.float32()
        if pa.types.is_integer(kind):
            return pa.int16()
        if pa.types.is_list(kind):
            return pa.list_(smaller(kind.value_type))
        return kind

    fields = [(field.name, smaller(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))
