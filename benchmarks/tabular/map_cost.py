"""Measures what an energy map costs on each task: ``python -m benchmarks.tabular.map_cost``.

That of a search: all heads of the table without a reinitialised layer, in one pass up to
``MAP_TAU_MAX`` epochs, from features that are cached already. CPU seconds of one thread, as
everywhere in the table; the CSV has the median of some runs, in turn over the tasks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from time import process_time

import torch

from benchmarks.machine import write_csv
from benchmarks.tabular.grid import FT_EPOCHS, GRID, MAP_TAU_MAX, TASKS
from benchmarks.tabular.store import MAP_COST
from energytune.config import FinetuneConfig, ProbeConfig, ProbeGrid
from energytune.paths import cache_dir
from energytune.training.snapshots import SnapshotStore
from energytune.trial.bench import Bench, BenchSpec
from energytune.trial.energy_map import build_energy_map

N_RUNS = 3


def main() -> None:
    """Writes the CSV."""
    torch.set_num_threads(1)
    benches = {task: _bench(task) for task in TASKS}
    seconds: dict[str, list[float]] = {task: [] for task in TASKS}
    for seed in range(N_RUNS):
        for task, bench in benches.items():
            seconds[task].append(_map_s(bench, seed))
            print(f"{task} {seed}: {seconds[task][-1]:.2f} s", flush=True)
    write_csv(
        MAP_COST,
        [{"task": t, "cpu_s": round(median(s), 3), "n_runs": N_RUNS} for t, s in seconds.items()],
    )


def _bench(task: str) -> Bench:
    name = TASKS[task]
    bench = BenchSpec(
        dataset=name.dataset,
        backbone=name.backbone,
        probe=ProbeConfig(),
        finetune=FinetuneConfig(epochs=FT_EPOCHS),
        cache=cache_dir(),
        model_dir=Path(tempfile.gettempdir()),
    ).build()
    bench.prepare([0])
    return bench


def _map_s(bench: Bench, seed: int) -> float:
    grid = ProbeGrid(
        head_archs=GRID["head_arch"],
        label_smoothings=GRID["label_smoothing"],
        lrs=GRID["hp_lr"],
        seeds=(seed,),
        tau_max=MAP_TAU_MAX,
    )
    with tempfile.TemporaryDirectory() as folder:
        bench.snapshots = SnapshotStore(Path(folder))  # empty, so that all of it is computed
        started = process_time()
        build_energy_map(bench, grid)
        return process_time() - started


if __name__ == "__main__":
    main()
