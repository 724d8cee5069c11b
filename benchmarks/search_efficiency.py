"""What a search finds for what cost, against the searches that people run today.

Every method replays its searches on the tabular benchmark's tasks; repeat r has the table's seed
r % 5 and the sampler's seed r. Intervals are 95 % bootstrap intervals over tasks and, within a
task, over repeats.

python -m benchmarks.search_efficiency --role heldout --repeats 20 --jobs 2   # hours
python -m benchmarks.search_efficiency --role design --repeats 2 --methods random tpe energytune
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.peers import METHODS, OURS, REFERENCE
from benchmarks.tabular.reports import Results, cost_lines, ratio_lines, reach_lines, regret_lines
from benchmarks.tabular.runs import Job, read_rows, run_all, write_rows
from benchmarks.tabular.table import tables

_PER_JOB = 5
"""Repeats of one job: so many that a process's start is cheap, so few that all cores stay busy."""


def main() -> None:
    """Runs what is missing, writes the rows, then tables and figure."""
    options = parse()
    names = [table.task.name for table in tables(options.role)]
    tasks = [name for name in names if options.tasks is None or name in options.tasks]
    kept = read_rows(_path(options, "raw", "parquet")) if options.keep else []
    rows, cpu_s = _run(_jobs(options, tasks, kept), options, kept)
    shown = [row for row in kept + rows if row["repeat"] < options.repeats]
    results = Results(tables(options.role), shown)
    lines = {
        "regret": regret_lines(results, REFERENCE),
        "reach": reach_lines(results, REFERENCE),
        "ratio": ratio_lines(results, REFERENCE),
        "cost": cost_lines(results),
        # The reference is the package's search here, in pairs with what lacks a part or has more.
        "ablation": [
            line for line in regret_lines(results, OURS) if line["method"].startswith(f"{OURS} ")
        ],
    }
    for what, table in lines.items():
        if table:
            write_csv(_path(options, what, "csv"), table)
    _write_figure(options, results)
    write_json(
        _path(options, None, "json"),
        metadata(
            tasks=results.tasks,
            seed_deviation={t.task.name: t.seed_deviation for t in results.tables},
            finetune_s={t.task.name: t.finetune_s for t in results.tables},
            replay_cpu_s_a_search=cpu_s,
            ratio=[line for line in lines["ratio"] if line["method"] == OURS],
        ),
    )
    for line in lines["regret"] + lines["ratio"]:
        print(line)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--role", choices=("design", "heldout"), default="design")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--tasks", nargs="+", help="of the role; default: all")
    parser.add_argument("--keep", action="store_true", help="don't run again what is in the file")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder")
    return parser.parse_args()


def _path(options: argparse.Namespace, what: str | None, kind: str) -> Path:
    stem = f"search_efficiency-{options.role}" + (f"-{what}" if what else "")
    return Path(options.out) / f"{stem}.{kind}"


def _jobs(options: argparse.Namespace, tasks: list[str], kept: list[dict[str, Any]]) -> list[Job]:
    done = {(row["method"], row["task"], row["repeat"]) for row in kept}
    jobs = []
    for task in tasks:
        for name in options.methods:
            most = min(options.repeats, METHODS[name].max_repeats or options.repeats)
            left = [r for r in range(most) if (name, task, r) not in done]
            starts = range(0, len(left), _PER_JOB)
            jobs += [Job(name, task, tuple(left[i : i + _PER_JOB])) for i in starts]
    return jobs


def _run(
    jobs: list[Job], options: argparse.Namespace, kept: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Returns the rows, and by method the CPU seconds of a replayed search, thinking included.

    It writes the rows now and then, so that ``--keep`` can go on from there.
    """
    rows: list[dict[str, Any]] = []
    cpu_s: dict[str, list[float]] = defaultdict(list)
    raw = _path(options, "raw", "parquet")
    for n_done, (job, more, seconds) in enumerate(run_all(jobs, options.jobs), start=1):
        rows += more
        cpu_s[job.method] += [seconds / len(job.repeats)]
        print(f"{n_done}/{len(jobs)} {job.task} {job.method} {seconds:.0f} s", flush=True)
        if n_done % 20 == 0 or n_done == len(jobs):
            write_rows(raw, kept + rows)
    return rows, {method: round(mean(seconds), 2) for method, seconds in cpu_s.items()}


def _write_figure(options: argparse.Namespace, results: Results) -> None:
    # Here, so that the worker processes, which import this module, load no matplotlib.
    from benchmarks.tabular.regret_figure import regret_figure
    from energytune.report.style import save_figure

    save_figure(regret_figure(results), _path(options, "regret", "svg"))


if __name__ == "__main__":
    main()
