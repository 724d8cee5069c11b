"""Checks the simulator: ``python -m benchmarks.live_check``.

Searches that were replayed from the table are run again with real training: the same sampler,
pruner and seeds, on a table that is empty and in which a recipe is probed and finetuned when the
search first asks for it. The CSV says how many recipes both have begun before they first differ, if
they do, whether everything is alike to the last epoch, and by how much the validation accuracies of
these recipes differ. What it can't show is what comes of several trials at once: the replay runs
one at a time.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.compute import bench_of, finetune_row
from benchmarks.tabular.grid import FT_EPOCHS, GRID, N_SEEDS
from benchmarks.tabular.method import Trace
from benchmarks.tabular.peers import METHODS, OURS, REFERENCE
from benchmarks.tabular.replay import Replay
from benchmarks.tabular.table import Floats, Table, load_table
from energytune.training.snapshots import SnapshotStore

TASKS = ("digits-mlp", "digits-rotated-cnn")


def main() -> None:
    """Runs the searches, writes the rows, and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ft-epochs", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    rows = []
    for task in TASKS:
        for repeat in range(options.repeats):
            table, seed = load_table(task), repeat % N_SEEDS
            live = live_table(table, seed)
            for name in (OURS, REFERENCE):
                rows.append({"task": task, "method": name, "repeat": repeat})
                traces = [
                    Replay(t, seed).search(METHODS[name], options.ft_epochs, repeat)
                    for t in (table, live)
                ]
                rows[-1] |= compared(table, live, seed, *traces)
                print(rows[-1], flush=True)
    write_csv(RESULTS / "live_check.csv", rows)
    write_json(RESULTS / "live_check.json", metadata(ft_epochs=options.ft_epochs))


def live_table(table: Table, seed: int) -> Table:
    """Returns a table with the same probes whose finetunes of one seed are run when looked at."""
    trainer = _Trainer(table, seed)
    live = replace(
        table,
        valid_acc=_Live(trainer, "valid_acc"),  # type: ignore[arg-type]
        valid_loss=_Live(trainer, "valid_loss"),  # type: ignore[arg-type]
    )
    vars(live)["n_valid"] = table.n_valid  # else it is read from the whole array
    return live


class _Trainer:
    """Probes and finetunes recipes, each once."""

    def __init__(self, table: Table, seed: int) -> None:
        self._table, self._seed = table, seed
        self._benches = {hp_lr: bench_of(table.task.name, hp_lr) for hp_lr in GRID["hp_lr"]}
        self._folder = tempfile.TemporaryDirectory()
        self._store = SnapshotStore(Path(self._folder.name))
        self.rows: dict[int, dict[str, Any]] = {}

    def row(self, seed: int, place: int) -> dict[str, Any]:
        """Returns what was measured, one value an epoch."""
        if seed != self._seed:
            raise KeyError(f"seed {seed} is not trained here, only {self._seed}")
        if place not in self.rows:
            recipe = self._table.recipes[place]
            bench = self._benches[recipe.hp_lr]
            self.rows[place] = finetune_row(bench, recipe, seed, self._store)
        return self.rows[place]


class _Live:
    """Looks like an array (seeds, recipes, epochs) of which single curves are read."""

    def __init__(self, trainer: _Trainer, name: str) -> None:
        self._trainer, self._name = trainer, name

    def __getitem__(self, at: tuple[int, int]) -> Floats:
        values = self._trainer.row(*at)[self._name]
        curve = np.array([*values, *[np.nan] * (FT_EPOCHS - len(values))], dtype=np.float32)
        return curve.astype(np.float64)  # with the table's rounding


def compared(table: Table, live: Table, seed: int, replayed: Trace, ran: Trace) -> dict[str, Any]:
    """Returns how far a replayed and a live search agree."""
    pairs = list(zip(replayed.ended, ran.ended, strict=False))
    alike = next((i for i, (a, b) in enumerate(pairs) if a.place != b.place), len(pairs))
    apart = [
        np.abs(table.valid_acc[seed, end.place] - live.valid_acc[seed, end.place])
        for end, _ in pairs[:alike]
    ]
    return {
        "n_replayed": len(replayed.ended),
        "n_live": len(ran.ended),
        "n_begun_alike": alike,
        "all_alike": replayed == ran,
        "largest_difference": round(float(np.nanmax(apart)), 6) if apart else None,
        "returned_alike": replayed.place[-1:] == ran.place[-1:],
    }


if __name__ == "__main__":
    main()
