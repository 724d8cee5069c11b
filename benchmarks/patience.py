"""What it costs to stop a finetune that gets no better: ``python -m benchmarks.patience``.

From the design tasks of the tabular benchmark, by the very rule with which a finetune stops: for
each patience the test accuracy that is lost against the whole finetune and the share of epochs that
is saved, over all recipes and over the better tenth of each task, where it matters. The smallest
patience that loses less than 0.1 points there is recommended.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.grid import FT_EPOCHS
from benchmarks.tabular.measures import interval, resampled_means
from benchmarks.tabular.table import Table, tables
from energytune.config import FinetuneConfig
from energytune.training.early_stop import stop_epoch

Floats = NDArray[np.float64]
PATIENCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, None)
"""Shares of the epochs; None never stops."""
MOST_LOST_POINTS = 0.1


def main() -> None:
    """Writes the lines and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--role", choices=("design", "heldout"), default="design")
    role = parser.parse_args().role
    chosen = tables(role)
    lines = [line for patience in PATIENCES for line in patience_lines(chosen, patience)]
    best = recommended(lines)
    write_csv(RESULTS / f"patience-{role}.csv", lines)
    head = metadata(
        tasks=[table.task.name for table in chosen],
        epochs=FT_EPOCHS,
        recommended=best,
    )
    write_json(RESULTS / f"patience-{role}.json", head)
    for line in lines:
        print(line)
    print("recommended:", best)


def patience_lines(chosen: Sequence[Table], patience: float | None) -> list[dict[str, Any]]:
    """Returns a line for all recipes and one for the better tenth of each task."""
    effects = [effect(table, patience) for table in chosen]
    lines = []
    for group in ("all", "top tenth"):
        members = [np.arange(len(t.recipes)) if group == "all" else top_tenth(t) for t in chosen]
        # By task and seed: finetunes of one seed share their split and backbone.
        pairs = list(zip(effects, members, strict=True))
        lost = 100 * np.array([np.nanmean(e[0][:, m], axis=1) for e, m in pairs])
        saved = np.array([np.nanmean(e[1][:, m], axis=1) for e, m in pairs])
        low, high = interval(resampled_means(lost))
        lines.append(
            {
                "patience": "none" if patience is None else patience,
                "recipes": group,
                "lost_points": round(float(lost.mean()), 4),
                "lost_low": round(float(low), 4),
                "lost_high": round(float(high), 4),
                "most_lost_points_of_a_task": round(float(lost.mean(axis=1).max()), 4),
                "epochs_saved": round(float(saved.mean()), 4),
            }
        )
    return lines


def effect(table: Table, patience: float | None) -> tuple[Floats, Floats]:
    """Returns accuracy lost and share of epochs saved, (seeds, recipes) each.

    NaN where a finetune diverged: nothing can be said of it.
    """
    epochs = FinetuneConfig(epochs=FT_EPOCHS, patience=patience).patience_epochs
    lost = np.full(table.failed.shape, np.nan)
    saved = np.full(table.failed.shape, np.nan)
    for s, r in zip(*np.nonzero(~table.failed), strict=True):
        pairs = zip(table.valid_acc[s, r].tolist(), table.valid_loss[s, r].tolist(), strict=True)
        end = stop_epoch(pairs, epochs) or FT_EPOCHS
        lost[s, r] = table.test_acc[s, r, -1] - table.test_acc[s, r, end - 1]
        saved[s, r] = 1 - end / FT_EPOCHS
    return lost, saved


def top_tenth(table: Table) -> NDArray[np.int64]:
    """Returns the places of the better tenth of the recipes, best first."""
    n = max(1, len(table.recipes) // 10)
    order: NDArray[np.int64] = np.argsort(-table.mean_test_acc, kind="stable")
    return order[:n]


def recommended(lines: Sequence[dict[str, Any]]) -> float | None:
    """Returns the smallest patience that loses little on the better tenth; None for never."""
    enough = [
        line["patience"]
        for line in lines
        if line["recipes"] == "top tenth"
        and line["patience"] != "none"
        and line["lost_points"] < MOST_LOST_POINTS
    ]
    return min(enough, default=None)


if __name__ == "__main__":
    main()
