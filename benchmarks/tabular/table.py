"""Loads a task's table into arrays."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.tabular.grid import (
    FT_EPOCHS,
    HEADS,
    N_SEEDS,
    TASKS,
    Head,
    TableRecipe,
    TaskName,
    recipes,
)
from benchmarks.tabular.store import DATA, MAP_COST

__all__ = ["Table", "load_table", "tables"]

Floats = NDArray[np.float64]
_PROBE_FIELDS = (
    "train_acc",
    "train_loss",
    "valid_acc",
    "valid_loss",
    "aie",
    "head_norm",
    "pull_norm",
)


@dataclass(frozen=True, eq=False)
class Table:
    """All finetunes and probes of one task; S seeds, R recipes, E finetuning epochs.

    Attributes:
        task: Which task.
        recipes: The recipes, in the order of all arrays.
        valid_acc: Validation accuracy, (S, R, E); NaN from where a finetune diverged.
        valid_loss: Validation loss in nats, (S, R, E).
        train_acc: Training accuracy while training, (S, R, E).
        test_acc: Test accuracy of the best epoch so far, (S, R, E).
        failed: Whether probing or finetuning diverged, (S, R).
        ft_epoch_s: CPU seconds of one finetuning epoch, (R,), the median over seeds.
        hp_epoch_s: CPU seconds of one probing epoch by itself, by head, the median over seeds.
        map_s: CPU seconds of the energy map of all heads without a reinitialised layer.
        proxies: (seed, head, epoch) -> what was measured there while probing.
    """

    task: TaskName
    recipes: list[TableRecipe]
    valid_acc: Floats
    valid_loss: Floats
    train_acc: Floats
    test_acc: Floats
    failed: NDArray[np.bool_]
    ft_epoch_s: Floats
    hp_epoch_s: dict[Head, float]
    map_s: float
    proxies: dict[tuple[int, Head, int], dict[str, float]]

    def index(self, recipe: TableRecipe) -> int:
        """Returns the place of a recipe in the arrays."""
        return self._places[recipe.canonical()]

    @cached_property
    def _places(self) -> dict[TableRecipe, int]:
        return {recipe: place for place, recipe in enumerate(self.recipes)}

    @cached_property
    def probe_epochs(self) -> dict[tuple[int, Head], list[int]]:
        """(seed, head) -> the epochs at which it was measured while probing, ascending."""
        epochs: dict[tuple[int, Head], list[int]] = {}
        for seed, head, epoch in sorted(self.proxies, key=lambda key: key[2]):
            epochs.setdefault((seed, head), []).append(epoch)
        return epochs

    @property
    def finetune_s(self) -> float:
        """CPU seconds of a typical whole finetune: a unit of cost."""
        return FT_EPOCHS * float(np.median(self.ft_epoch_s))

    @cached_property
    def mean_test_acc(self) -> Floats:
        """Test accuracy of whole finetunes at their best epoch, mean over the seeds, (R,).

        One that diverged counts with its best epoch before that, or 0 if there was none.
        """
        mean: Floats = np.nan_to_num(self.test_acc[:, :, -1]).mean(axis=0)
        return mean

    @cached_property
    def n_valid(self) -> int:
        """Validation images: the accuracies are whole multiples of one over them."""
        values = np.unique(self.valid_acc[~np.isnan(self.valid_acc)])
        return round(1.0 / float(np.diff(values).min()))

    @cached_property
    def seed_deviation(self) -> float:
        """Standard deviation over seeds of the test accuracy, pooled over the better half."""
        scores = np.nan_to_num(self.test_acc[:, :, -1])
        better = scores.mean(axis=0) >= np.median(scores.mean(axis=0))
        return float(np.sqrt(scores[:, better].var(axis=0, ddof=1).mean()))


@cache
def load_table(task: str) -> Table:
    """Returns the table of ``task``.

    Raises:
        FileNotFoundError: If it was not computed, or what its map costs was not measured.
    """
    order = recipes()
    place = {recipe: i for i, recipe in enumerate(order)}
    shape = (N_SEEDS, len(order), FT_EPOCHS)
    curves = {name: np.full(shape, np.nan) for name in ("valid_acc", "valid_loss", "train_acc")}
    test = np.full(shape, np.nan)
    failed = np.zeros(shape[:2], dtype=bool)
    seconds = np.full(shape[:2], np.nan)
    for row in pq.read_table(DATA / f"{task}-runs.parquet").to_pylist():
        s, r = row["seed"], place[_recipe(row)]
        failed[s, r] = bool(row["failure"])
        n_epochs = len(row["valid_acc"])
        for name, curve in curves.items():
            curve[s, r, :n_epochs] = row[name]
        for epoch, value in zip(row["best_epochs"], row["best_test_acc"], strict=True):
            test[s, r, epoch - 1 :] = value
        if n_epochs == FT_EPOCHS:
            seconds[s, r] = row["cpu_s"] / n_epochs
    typical = np.nanmedian(seconds)
    per_recipe = np.array([typical if np.isnan(c).all() else np.nanmedian(c) for c in seconds.T])
    proxies, hp_epoch_s = _probes(DATA / f"{task}-probes.parquet")
    return Table(
        TASKS[task],
        order,
        **curves,
        test_acc=test,
        failed=failed,
        ft_epoch_s=per_recipe,
        hp_epoch_s=hp_epoch_s,
        map_s=_map_costs()[task],
        proxies=proxies,
    )


@cache
def _map_costs() -> dict[str, float]:
    with MAP_COST.open(newline="") as file:
        return {row["task"]: float(row["cpu_s"]) for row in csv.DictReader(file)}


def tables(role: str) -> list[Table]:
    """Returns the tables of all computed tasks of a role, ``"design"`` or ``"heldout"``."""
    wanted = [task for task in TASKS.values() if task.role == role]
    return [load_table(t.name) for t in wanted if (DATA / f"{t.name}-runs.parquet").exists()]


def _recipe(row: dict[str, Any]) -> TableRecipe:
    return TableRecipe(
        row["tau"],
        row["head_arch"],
        round(row["label_smoothing"], 4),
        row["reinit_depth"],
        round(row["hp_lr"], 4),
        round(row["ft_lr"], 4),
    )


def _probes(
    path: Path,
) -> tuple[dict[tuple[int, Head, int], dict[str, float]], dict[Head, float]]:
    proxies: dict[tuple[int, Head, int], dict[str, float]] = {}
    rates: dict[Head, list[float]] = {head: [] for head in HEADS}
    for row in pq.read_table(path).to_pylist():
        head = Head(
            row["head_arch"],
            round(row["label_smoothing"], 4),
            row["reinit_depth"],
            round(row["hp_lr"], 4),
        )
        values = {name: row[name] for name in _PROBE_FIELDS}
        proxies[row["seed"], head, row["epoch"]] = values | {"epoch": row["epoch"]}
        if row["epoch"] >= 128:
            rates[head].append(row["cpu_s"] / row["epoch"])
    return proxies, {head: float(np.median(rate)) for head, rate in rates.items() if rate}
