"""Runs many replays in several processes, and keeps what they found in one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import thread_time
from typing import Any

import optuna
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tabular.grid import N_SEEDS
from benchmarks.tabular.method import Method
from benchmarks.tabular.peers import method_of
from benchmarks.tabular.replay import Replay
from benchmarks.tabular.table import load_table

__all__ = [
    "MOST_FT_EPOCHS",
    "MOST_FINETUNES",
    "Job",
    "read_rows",
    "run_all",
    "run_one",
    "write_rows",
]

MOST_FT_EPOCHS = 1600
"""A search goes on until it has spent so many epochs ..."""
MOST_FINETUNES = 40
"""... and the seconds of so many whole finetunes of its task."""
_SCHEMA = pa.schema(
    [
        *(("method", pa.string()), ("task", pa.string()), ("repeat", pa.int16())),
        *(("ft_epochs", pa.list_(pa.int32())), ("seconds", pa.list_(pa.float32()))),
        ("place", pa.list_(pa.int16())),
        *(("total_ft_epochs", pa.int32()), ("total_seconds", pa.float32())),
        ("n_trials", pa.int16()),
    ]
)


@dataclass(frozen=True)
class Job:
    """Some repeats of one method on one task.

    Attributes:
        method: Name, as :func:`~benchmarks.tabular.peers.method_of` knows it.
        task: Name.
        repeats: Repeat r has the table's seed ``r % 5`` and the sampler's seed r.
        ft_epochs: Least finetuning epochs of a search.
        finetunes: Least seconds of a search, in whole finetunes of the task.
    """

    method: str
    task: str
    repeats: tuple[int, ...]
    ft_epochs: int = MOST_FT_EPOCHS
    finetunes: float = MOST_FINETUNES


def run_one(job: Job) -> list[dict[str, Any]]:
    """Returns one row a repeat."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    method = method_of(job.method)
    return [_row(job, method, repeat) for repeat in job.repeats]


def _row(job: Job, method: Method, repeat: int) -> dict[str, Any]:
    table = load_table(job.task)
    trace = Replay(table, repeat % N_SEEDS).search(
        method, job.ft_epochs, repeat, seconds=job.finetunes * table.finetune_s
    )
    return {
        "method": job.method,
        "task": job.task,
        "repeat": repeat,
        "ft_epochs": trace.ft_epochs,
        "seconds": trace.seconds,
        "place": trace.place,
        "total_ft_epochs": trace.total_ft_epochs,
        "total_seconds": trace.total_seconds,
        "n_trials": len(trace.ended),
    }


def run_all(
    jobs: Sequence[Job], n_processes: int
) -> Iterator[tuple[Job, list[dict[str, Any]], float]]:
    """Yields each job with its rows and its CPU seconds, in the order in which they end."""
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_timed, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], *future.result()


def _timed(job: Job) -> tuple[list[dict[str, Any]], float]:
    started = thread_time()
    return run_one(job), thread_time() - started


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows ordered by method, task and repeat: the same rows give the same file."""
    ordered = sorted(rows, key=lambda row: (row["method"], row["task"], row["repeat"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(ordered, _SCHEMA), unfinished, compression="zstd")
    unfinished.replace(path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a file, none if it is not there."""
    return pq.read_table(path).to_pylist() if path.exists() else []
