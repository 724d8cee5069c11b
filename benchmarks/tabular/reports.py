"""The tables of the comparison: from raw rows to lines with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.measures import (
    Course,
    accuracies,
    cheapest,
    cost_to_reach,
    interval,
    resampled_means,
    shortfall,
)
from benchmarks.tabular.runs import MOST_FINETUNES, MOST_FT_EPOCHS
from benchmarks.tabular.table import Table

__all__ = [
    "BUDGETS",
    "Results",
    "Unit",
    "cost_lines",
    "ratio_lines",
    "reach_lines",
    "regret_lines",
]

Floats = NDArray[np.float64]
Unit = Literal["ft_epochs", "finetunes"]
"""``finetunes``: measured seconds, probing included, over those of a whole finetune of the task."""

BUDGETS: dict[Unit, tuple[int, ...]] = {
    "ft_epochs": (100, 200, 400, 800, 1600),
    "finetunes": (5, 10, 20, 30, 40),
}
_CAP: dict[Unit, float] = {"ft_epochs": MOST_FT_EPOCHS, "finetunes": MOST_FINETUNES}
_FINE: dict[Unit, Floats] = {
    "ft_epochs": np.arange(5.0, MOST_FT_EPOCHS + 1, 5),
    "finetunes": np.arange(0.25, MOST_FINETUNES + 0.01, 0.25),
}
"""Where a method's cost for an accuracy is looked for."""
_TOLERANCE = 0.003
"""Accuracies that differ by less are as good: 0.3 points."""


class Results:
    """Rows by method, task and repeat.

    Args:
        tables: Of the tasks.
        rows: As :func:`~benchmarks.tabular.runs.run_one` returns them, in any order.

    Attributes:
        tables: Those that have rows.
        tasks: Their names.
        methods: Names of those with rows on every task, in the order of the first row of each.
    """

    def __init__(self, tables: Sequence[Table], rows: Sequence[dict[str, Any]]) -> None:
        self.rows = {(row["method"], row["task"], row["repeat"]): row for row in rows}
        with_rows = {row["task"] for row in rows}
        self.tables = [table for table in tables if table.task.name in with_rows]
        self.tasks = [table.task.name for table in self.tables]
        names = dict.fromkeys(row["method"] for row in rows)
        self.methods = [name for name in names if self.n_repeats(name)]
        self._accuracy: dict[tuple[str, Unit], Floats] = {}

    def n_repeats(self, method: str) -> int:
        """Returns how many repeats, from the first on, a method has on every task."""
        missing = (n for n in count() if not self._has(method, n))
        return next(missing)

    def _has(self, method: str, repeat: int) -> bool:
        return bool(self.tasks) and all((method, t, repeat) in self.rows for t in self.tasks)

    def courses(self, method: str, unit: Unit) -> list[list[Course]]:
        """Returns a method's courses by task and repeat."""
        repeats = range(self.n_repeats(method))
        return [
            [_course(self.rows[method, table.task.name, r], table, unit) for r in repeats]
            for table in self.tables
        ]

    def accuracy(self, method: str, unit: Unit) -> Floats:
        """Returns accuracies on a fine grid of budgets, (tasks, repeats, budgets)."""
        if (method, unit) not in self._accuracy:
            self._accuracy[method, unit] = self.accuracy_at(method, unit, _FINE[unit].tolist())
        return self._accuracy[method, unit]

    def accuracy_at(self, method: str, unit: Unit, budgets: Sequence[float]) -> Floats:
        """Returns accuracies at some budgets, (tasks, repeats, budgets)."""
        courses = self.courses(method, unit)
        return np.array(
            [
                [accuracies(table, course, budgets) for course in of_task]
                for table, of_task in zip(self.tables, courses, strict=True)
            ]
        )

    @cached_property
    def best(self) -> Floats:
        """The best recipe's accuracy, (tasks, 1, 1)."""
        return np.array([table.mean_test_acc.max() for table in self.tables])[:, None, None]


def _course(row: dict[str, Any], table: Table, unit: Unit) -> Course:
    if unit == "ft_epochs":
        return Course(row["ft_epochs"], row["place"])
    return Course([s / table.finetune_s for s in row["seconds"]], row["place"])


def regret_lines(results: Results, reference: str) -> list[dict[str, Any]]:
    """Returns regret at each budget, and how much less the reference's is, in points."""
    lines = []
    for unit, budgets in BUDGETS.items():
        theirs = _regret(results, reference, unit) if reference in results.methods else None
        for method in results.methods:
            ours = _regret(results, method, unit)
            n = len(ours[0]) if theirs is None else min(len(ours[0]), len(theirs[0]))
            more = None if theirs is None else ours[:, :n] - theirs[:, :n]
            for i, budget in enumerate(budgets):
                line = {"method": method, "unit": unit, "budget": budget}
                line |= _with_interval("regret", ours[..., i])
                if more is not None:
                    line |= _with_interval("minus_reference", more[..., i])
                lines.append(line | _sizes(results, method))
    return lines


def _regret(results: Results, method: str, unit: Unit) -> Floats:
    """Returns points below the best recipe, (tasks, repeats, budgets)."""
    regret: Floats = 100 * (results.best - results.accuracy_at(method, unit, BUDGETS[unit]))
    return regret


def _with_interval(name: str, values: Floats) -> dict[str, float]:
    return _ends(name, float(values.mean()), resampled_means(values))


def _sizes(results: Results, method: str) -> dict[str, int]:
    return {"n_tasks": len(results.tasks), "n_repeats": results.n_repeats(method)}


def reach_lines(results: Results, reference: str) -> list[dict[str, Any]]:
    """Returns the cost to come, and stay, within one seed deviation of the best recipe.

    A search that never does counts with the cap, so the means are too low where many do not.
    """
    lines = []
    for unit, cap in _CAP.items():
        costs = {method: _reach(results, method, unit, cap) for method in results.methods}
        theirs = costs.get(reference)
        for method, reached in costs.items():
            line: dict[str, Any] = {"method": method, "unit": unit, "cap": cap}
            line |= _with_interval("cost", np.minimum(reached, cap))
            line["share_never"] = round(float(np.isinf(reached).mean()), 3)
            if theirs is not None:
                n = min(reached.shape[1], theirs.shape[1])
                both = np.minimum(np.stack([reached[:, :n], theirs[:, :n]], axis=-1), cap)
                means = resampled_means(both)
                ratio = both[..., 1].mean() / both[..., 0].mean()
                line |= _ends("times_cheaper", ratio, means[:, 1] / means[:, 0])
            lines.append(line | _sizes(results, method))
    return lines


def _reach(results: Results, method: str, unit: Unit, cap: float) -> Floats:
    courses = results.courses(method, unit)
    return np.array(
        [
            [cost_to_reach(table, course, cap) for course in of_task]
            for table, of_task in zip(results.tables, courses, strict=True)
        ]
    )


def ratio_lines(results: Results, reference: str) -> list[dict[str, Any]]:
    """Returns at which cost a method is as good, within 0.3 points, as the reference at a budget.

    Once a search gets no better, any budget could be called its cost. So ``times_cheaper_alike``
    compares with ``reference_cost``, at which the reference itself was as good already. Beside it,
    ``most_worse`` is the most by which the method is worse than the reference at any budget from
    the first one of ``BUDGETS``, in points.
    """
    if reference not in results.methods:
        return []
    return [
        line
        for unit, budgets in BUDGETS.items()
        for method in results.methods
        for line in _ratios(results, (method, reference), unit, budgets)
    ]


def _ratios(
    results: Results, pair: tuple[str, str], unit: Unit, budgets: Sequence[int]
) -> list[dict[str, Any]]:
    accuracy = [results.accuracy(method, unit) for method in pair]
    n = min(a.shape[1] for a in accuracy)
    both = np.stack([a[:, :n] for a in accuracy], axis=2)  # (tasks, repeats, 2, fine budgets)
    mean, drawn = both.mean(axis=(0, 1)), resampled_means(both)
    fine = _FINE[unit]
    from_first = fine >= budgets[0]
    worse = 100 * float(shortfall(mean[0, from_first], mean[1, from_first]))
    worse_draws = 100 * shortfall(drawn[:, 0, from_first], drawn[:, 1, from_first])
    lines = []
    for budget in budgets:
        at = int(np.searchsorted(fine, budget))
        cost, own = (float(cheapest(m, mean[1, at], fine, _TOLERANCE)) for m in mean)
        costs, owns = (cheapest(drawn[:, i], drawn[:, 1, at], fine, _TOLERANCE) for i in range(2))
        line: dict[str, Any] = {"method": pair[0], "unit": unit, "reference_budget": budget}
        line |= {"cost": cost if np.isfinite(cost) else None, "reference_cost": own}
        # A cost that is infinite is a ratio of 0.
        line |= _ends("times_cheaper", budget / cost, budget / costs)
        line |= _ends("times_cheaper_alike", own / cost, owns / costs)
        line |= _ends("most_worse", worse, worse_draws)
        lines.append(line | _sizes(results, pair[0]))
    return lines


def _ends(name: str, value: float, drawn: Floats) -> dict[str, float]:
    low, high = interval(drawn)
    names = (name, f"{name}_low", f"{name}_high")
    return {n: round(float(x), 3) for n, x in zip(names, (value, low, high), strict=True)}


def cost_lines(results: Results) -> list[dict[str, Any]]:
    """Returns what the searches came to, by method: trials, epochs and whole finetunes."""
    lines = []
    for method in results.methods:
        rows = [row for key, row in results.rows.items() if key[0] == method]
        finetune_s = {table.task.name: table.finetune_s for table in results.tables}
        finetunes = [row["total_seconds"] / finetune_s[row["task"]] for row in rows]
        lines.append(
            {
                "method": method,
                "n_searches": len(rows),
                "n_trials": round(float(np.mean([row["n_trials"] for row in rows])), 1),
                "ft_epochs": round(float(np.mean([row["total_ft_epochs"] for row in rows])), 1),
                "finetunes": round(float(np.mean(finetunes)), 1),
            }
        )
    return lines
