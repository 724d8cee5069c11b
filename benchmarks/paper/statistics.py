"""Numbers over seeds: means, paired differences, and a tau that other seeds have chosen.

Every interval is a 95 % t interval over seeds. It tells of the spread over what a seed draws (head,
batch order, and the backbone's pretraining on the embedded tasks), not over other splits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from energytune.report.intervals import paired_t_interval

__all__ = [
    "Effect",
    "Row",
    "by_seed",
    "chosen_by_others",
    "as_columns",
    "effect",
    "geometric",
    "mean_of",
    "mean_text",
    "of_row",
    "paired",
    "select",
    "spearman",
    "summary_rows",
]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """A mean over seeds with its interval.

    Attributes:
        mean: NaN without a seed.
        low: Lower end of the 95 % interval; NaN with fewer than two seeds.
        high: Upper end.
        n: Seeds.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0

    def text(self, digits: int = 2, *, scale: float = 1.0, sign: bool = False) -> str:
        """Returns ``"1.23 [1.00, 1.46]"``, multiplied by ``scale``; ``"-"`` without a mean."""
        if math.isnan(self.mean):
            return "-"
        mark = "+" if sign else ""
        mean, low, high = (
            f"{round(scale * x, digits) + 0.0:{mark}.{digits}f}"
            for x in (self.mean, self.low, self.high)
        )
        return mean if math.isnan(self.low) else f"{mean} [{low}, {high}]"


def effect(values: Iterable[float]) -> Effect:
    """Returns mean and interval of one value a seed; values that are not finite are left out."""
    found = paired_t_interval([float(v) for v in values if math.isfinite(v)])
    if found.interval is None:
        return Effect(found.mean, math.nan, math.nan, found.n)
    return Effect(found.mean, found.interval.low, found.interval.high, found.n)


def geometric(values: Iterable[float]) -> Effect:
    """Returns the geometric mean of positive values and its interval, for axes of logarithms."""
    found = effect(math.log(value) for value in values if value > 0)
    return Effect(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def by_seed(rows: Iterable[Row], name: str) -> dict[int, float]:
    """Returns seed -> number of rows that have one row a seed."""
    return {int(row["seed"]): float(row[name]) for row in rows}


def mean_of(rows: Iterable[Row], name: str) -> float:
    """Returns the mean of a column over the rows where it is finite; NaN where it never is."""
    return effect(float(row[name]) for row in rows).mean


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Returns the rows whose columns have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Effect:
    """Returns first minus second over the seeds that both have."""
    return effect(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Returns the rank correlation; NaN where one side is constant or has fewer than three."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float(spearmanr(x, y).statistic)


def chosen_by_others(
    rows: Sequence[Row],
    candidates: Sequence[int],
    score: str,
    pick: Callable[..., int] = max,
) -> dict[int, int]:
    """Returns seed -> the tau with the best mean score over all OTHER seeds.

    So what a seed reports had no part in its choice. With a single seed that one chooses itself.

    Args:
        rows: One a (seed, tau).
        candidates: The taus to choose from; a tie goes to the first.
        score: Column that is looked at.
        pick: ``max`` or ``min``.
    """
    table = {(int(row["seed"]), int(row["tau"])): float(row[score]) for row in rows}
    seeds = sorted({seed for seed, _ in table})
    chosen = {}
    for seed in seeds:
        others = [other for other in seeds if other != seed] or [seed]
        means = {
            tau: fmean([table[o, tau] for o in others])
            for tau in candidates
            if all(math.isfinite(table[o, tau]) for o in others)
        }
        chosen[seed] = pick(means, key=lambda tau: means[tau])
    return chosen


def summary_rows(
    rows: Sequence[Row], keys: Sequence[str], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns one row a group and metric: mean, low, high, n_seeds.

    Args:
        rows: Raw rows.
        keys: Columns that make a group; groups come in order of appearance.
        metrics: Columns to summarise.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        {**dict(zip(keys, group, strict=True)), "metric": metric, **as_columns(found)}
        for group, members in groups.items()
        for metric in metrics
        for found in [effect(float(row[metric]) for row in members)]
    ]


def of_row(row: Row) -> Effect:
    """Returns the effect that a summary's row holds."""
    mean, low, high = (float(row[name]) for name in ("mean", "low", "high"))
    return Effect(mean, low, high, int(row["n_seeds"]))


def mean_text(summary: Iterable[Row], name: str, metric: str, scale: float = 1.0) -> str:
    """Returns the cell of a summary's row ``name`` and a metric: two digits of a percentage.

    Where fewer seeds count than in other rows, since runs diverged, it says how many.
    """
    of_metric = select(summary, metric=metric)
    (found,) = select(of_metric, row=name)
    text = of_row(found).text(2 if scale == 100 else 3, scale=scale)
    n_seeds, most = int(found["n_seeds"]), max(int(row["n_seeds"]) for row in of_metric)
    return text if n_seeds == most else f"{text} (n={n_seeds})"


def as_columns(found: Effect) -> dict[str, Any]:
    """Returns an effect as columns of a CSV."""
    return {"mean": found.mean, "low": found.low, "high": found.high, "n_seeds": found.n}
