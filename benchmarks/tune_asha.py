"""Chooses the settings of tuned TPE + ASHA: ``python -m benchmarks.tune_asha --jobs 2``.

On the design tasks only, by the mean regret over the budgets, the tasks and the repeats. All
settings run on the first repeats; the better ones go on to more of them, twice. The CSV holds them
all, best first: copy the first one into ``TUNED`` of ``benchmarks/tabular/peers.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.measures import Course, accuracies
from benchmarks.tabular.peers import ASHA_GRID, AshaSettings
from benchmarks.tabular.runs import Job, run_all
from benchmarks.tabular.table import load_table, tables

BUDGETS = (100, 200, 400, 800)
STAGES = ((1, len(ASHA_GRID)), (4, 20), (8, 6))
"""Repeats, and how many settings come so far."""


def main() -> None:
    """Runs the stages, writes all settings, prints the best."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    tasks = [table.task.name for table in tables("design")]
    regrets: dict[AshaSettings, list[float]] = {settings: [] for settings in ASHA_GRID}
    done = 0
    for n_repeats, n_settings in STAGES:
        left = sorted(regrets, key=lambda s: _rank(regrets[s]))[:n_settings]
        _run(regrets, left, tasks, tuple(range(done, n_repeats)), options.jobs)
        done = n_repeats
    rows = [_line(settings, regrets[settings]) for settings in regrets]
    rows.sort(key=lambda row: (-row["n_searches"], row["regret_points"]))
    write_csv(RESULTS / "tune_asha.csv", rows)
    head = metadata(tasks=tasks, budgets=BUDGETS, stages=STAGES)
    write_json(RESULTS / "tune_asha.json", {**head, "best": rows[0]})
    print(rows[0])


def _run(
    regrets: dict[AshaSettings, list[float]],
    chosen: Sequence[AshaSettings],
    tasks: Sequence[str],
    repeats: tuple[int, ...],
    n_processes: int,
) -> None:
    """Adds each search's mean regret over the budgets, in points."""
    by_name = {settings.name: settings for settings in chosen}
    jobs = [Job(name, task, repeats, BUDGETS[-1], 0.0) for task in tasks for name in by_name]
    for n_done, (job, rows, _) in enumerate(run_all(jobs, n_processes), start=1):
        table = load_table(job.task)
        for row in rows:
            course = Course(row["ft_epochs"], row["place"])
            loss = table.mean_test_acc.max() - accuracies(table, course, BUDGETS)
            regrets[by_name[job.method]].append(100 * float(loss.mean()))
        print(f"{n_done}/{len(jobs)} {job.task} {job.method}", flush=True)


def _rank(seen: Sequence[float]) -> tuple[int, float]:
    """Settings that came further are better than any that did not."""
    return -len(seen), float(np.mean(seen)) if seen else 0.0


def _line(settings: AshaSettings, seen: Sequence[float]) -> dict[str, Any]:
    spread = float(np.std(seen, ddof=1) / np.sqrt(len(seen)))
    return {
        **vars(settings),
        "n_searches": len(seen),
        "regret_points": round(float(np.mean(seen)), 4),
        "standard_error": round(spread, 4),
    }


if __name__ == "__main__":
    main()
