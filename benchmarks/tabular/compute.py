"""Computes the table: ``python -m benchmarks.tabular.compute --jobs 2``.

One cell is a task and a seed: every head is probed once, to the largest tau; every recipe is
finetuned to the end from its snapshot, by the code that a search runs. A cell that is there is not
computed again, so the command can be stopped and goes on; nor is a task whose files are there.

The test accuracy is measured whenever the validation accuracy is a new best (by the rule of
``Finetuner``), so it is known for every early stop.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import torch

from benchmarks.tabular.grid import FT_EPOCHS, GRID, HEADS, N_SEEDS, TASKS, Head, TableRecipe
from benchmarks.tabular.grid import recipes as all_recipes
from benchmarks.tabular.store import DATA, PARTS, merge, write_cell
from energytune.config import FinetuneConfig, ProbeConfig, Recipe
from energytune.errors import TrialFailure
from energytune.paths import cache_dir
from energytune.training.evaluate import evaluate
from energytune.training.finetune import Finetuner
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.training.snapshots import SnapshotStore
from energytune.trial.bench import Bench, BenchSpec

_BATCH = 1024


def main() -> None:
    """Computes what is missing of the chosen cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(N_SEEDS)))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    missing = [task for task in options.tasks if not (DATA / f"{task}-runs.parquet").exists()]
    cells = [(t, s) for t in missing for s in options.seeds if not PARTS.cell(t, s).exists()]
    for task in dict.fromkeys(task for task, _ in cells):
        bench_of(task, GRID["hp_lr"][0])  # pretrains the backbone once, before the workers need it
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        started = perf_counter()
        futures = {pool.submit(compute_cell, *cell): cell for cell in cells}
        for n_done, future in enumerate(as_completed(futures), start=1):
            future.result()
            print(f"{n_done}/{len(cells)} {futures[future]} {perf_counter() - started:.0f} s")
    merge(options.tasks)


def compute_cell(task: str, seed: int) -> None:
    """Computes and writes one cell."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(Path(folder))
        benches = {hp_lr: bench_of(task, hp_lr) for hp_lr in GRID["hp_lr"]}
        probes = [row for head in HEADS for row in _probe(benches[head.hp_lr], head, seed, store)]
        runs = [finetune_row(benches[r.hp_lr], r, seed, store) for r in all_recipes()]
    write_cell(task, seed, probes, runs)


def bench_of(task: str, hp_lr: float) -> Bench:
    """Returns data and backbone of a task, for heads that are probed at one rate."""
    name = TASKS[task]
    return BenchSpec(
        dataset=name.dataset,
        backbone=name.backbone,
        probe=ProbeConfig(lr=hp_lr),
        finetune=FinetuneConfig(epochs=FT_EPOCHS, patience=None),
        cache=cache_dir(),
        model_dir=Path(tempfile.gettempdir()),
    ).build()


def _head_run(bench: Bench, head: Head, seed: int) -> HeadRun:
    recipe = Recipe(
        tau=1,
        head_arch=head.head_arch,  # type: ignore[arg-type]
        label_smoothing=head.label_smoothing,
        reinit_depth=head.reinit_depth,
        ft_lr=1.0,
    )
    trajectory = bench.trajectory(recipe, seed)
    return HeadRun(bench.model(recipe, seed), bench.spec.probe, head.label_smoothing, trajectory)


def _probe(bench: Bench, head: Head, seed: int, store: SnapshotStore) -> Iterator[dict[str, Any]]:
    """Yields one row a snapshot; ends early where probing diverges."""
    run = _head_run(bench, head, seed)
    data, task = bench.probe_data(head.reinit_depth), bench.splits.task
    tau_max = max(GRID["tau"])
    started = thread_time()
    try:
        for snapshot in probe(run, data, task, seed=seed, tau=tau_max, store=store):
            yield {**asdict(head), **vars(snapshot), "cpu_s": thread_time() - started}
    except TrialFailure:
        return


def finetune_row(
    bench: Bench, recipe: TableRecipe, seed: int, store: SnapshotStore
) -> dict[str, Any]:
    """Returns the row of one finetune; the curve ends early where it diverges."""
    row: dict[str, Any] = {**asdict(recipe), "failure": "", "valid_acc": [], "valid_loss": []}
    row |= {"train_acc": [], "best_epochs": [], "best_test_acc": [], "cpu_s": 0.0}
    run = _head_run(bench, recipe.head, seed)
    data, task, splits = bench.probe_data(recipe.reinit_depth), bench.splits.task, bench.splits
    test = splits.test.open("the table")
    cpu_s = 0.0
    try:
        for _ in probe(run, data, task, seed=seed, tau=recipe.tau, store=store):
            pass
        tuner = Finetuner(
            run.model,
            splits.train,
            splits.valid,
            task,
            bench.spec.finetune,
            ft_lr=recipe.ft_lr,
            seed=seed,
            device=bench.device,
        )
        started = thread_time()
        for epoch in tuner:
            cpu_s += thread_time() - started
            row["valid_acc"].append(epoch.valid_acc)
            row["valid_loss"].append(round(epoch.valid_loss, 4))
            row["train_acc"].append(epoch.train_acc)
            if tuner.best is not None and tuner.best.epoch == epoch.epoch:
                outcome = evaluate(run.model, test.batches(_BATCH), task, bench.device)
                row["best_epochs"].append(epoch.epoch)
                row["best_test_acc"].append(outcome.accuracy)
            started = thread_time()
    except TrialFailure as failure:
        row["failure"] = str(failure)
    row["cpu_s"] = cpu_s
    return row


if __name__ == "__main__":
    main()
