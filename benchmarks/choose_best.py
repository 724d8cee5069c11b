"""Which finetune to return: ``python -m benchmarks.choose_best``.

Among some whole finetunes of one seed, drawn at random from the design tasks, one is chosen by
validation: the highest accuracy, or among those within some standard errors of it the lowest loss.
The CSV tells how many points of test accuracy (mean over the seeds) the choice is below the best
recipe of the whole table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.grid import N_SEEDS
from benchmarks.tabular.table import Table, tables
from energytune.optimizer.ranking import tied_margin

N_FINETUNES = (5, 10, 20, 40, 80)
MARGINS_SE = (0.0, 0.25, 0.5, 1.0, 2.0, float("inf"))
N_DRAWS = 40
"""Of finetunes, for each task and seed; every margin chooses from the same ones."""


def main() -> None:
    """Writes the CSV and prints it."""
    design = tables("design")
    rows = []
    for n in N_FINETUNES:
        losses = np.array([_losses(table, seed, n) for table in design for seed in range(N_SEEDS)])
        for i, margin in enumerate(MARGINS_SE):
            more = losses[:, :, i] - losses[:, :, 0]
            rows.append(
                {
                    "n_finetunes": n,
                    "margin_se": margin,
                    "regret_points": round(float(losses[:, :, i].mean()), 3),
                    "minus_highest_accuracy": round(float(more.mean()), 3),
                    "standard_error_of_that": round(_error(more.mean(axis=1)), 3),
                }
            )
            print(rows[-1])
    write_csv(RESULTS / "choose_best.csv", rows)
    tasks = [table.task.name for table in design]
    write_json(RESULTS / "choose_best.json", metadata(tasks=tasks, n_draws=N_DRAWS))


def _losses(table: Table, seed: int, n: int) -> NDArray[np.float64]:
    """Returns the points that each margin loses in each draw, (draws, margins)."""
    accuracy = np.nan_to_num(table.valid_acc[seed])
    best_epoch = accuracy.argmax(axis=1)[:, None]
    best = np.take_along_axis(accuracy, best_epoch, axis=1)[:, 0]
    loss = np.take_along_axis(table.valid_loss[seed], best_epoch, axis=1)[:, 0]
    regret = 100 * (table.mean_test_acc.max() - table.mean_test_acc)
    rng = np.random.default_rng((seed, n))
    whole = np.flatnonzero(~table.failed[seed])
    draws = [rng.choice(whole, n, replace=False) for _ in range(N_DRAWS)]
    chosen = [[_choice(best[d], loss[d], se, table.n_valid) for se in MARGINS_SE] for d in draws]
    return np.array([regret[d[c]] for d, c in zip(draws, chosen, strict=True)])


def _choice(
    accuracy: NDArray[np.float64], loss: NDArray[np.float64], margin_se: float, n_valid: int
) -> int:
    top = float(accuracy.max())
    margin = 1.0 if np.isinf(margin_se) else tied_margin(top, n_valid, margin_se)
    return int(np.where(accuracy >= top - margin - 1e-9, loss, np.inf).argmin())


def _error(of_searches: NDArray[np.float64]) -> float:
    """Returns the standard error of a mean over tasks and seeds."""
    return float(of_searches.std(ddof=1) / np.sqrt(len(of_searches)))


if __name__ == "__main__":
    main()
