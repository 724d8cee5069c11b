"""The figure of the comparison: regret against finetuning epochs."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.tabular.measures import interval, resampled_means
from benchmarks.tabular.peers import OURS, REFERENCE
from benchmarks.tabular.reports import Results
from energytune.report.style import line_style

__all__ = ["SHOWN", "regret_figure"]

SHOWN = (OURS, REFERENCE, "tpe + asha, ray's defaults", "hyperband + tpe", "tpe", "gp", "random")
_BUDGETS = tuple(round(25 * 2 ** (i / 2)) for i in range(13))
"""25 to 1600 epochs, evenly on a log scale."""


def regret_figure(results: Results) -> Figure:
    """Returns mean regret by cost, on log scales; 95 % intervals of the first two methods."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, method in enumerate(name for name in SHOWN if name in results.methods):
        regret = 100 * (results.best - results.accuracy_at(method, "ft_epochs", _BUDGETS))
        axes.plot(_BUDGETS, regret.mean(axis=(0, 1)), label=method, **line_style(i))
        if method in (OURS, REFERENCE):
            low, high = interval(resampled_means(regret))
            axes.fill_between(_BUDGETS, low, high, color=line_style(i)["color"], alpha=0.15, lw=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda epochs, _: f"{epochs:g}"))
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("finetuning epochs of the whole search")
    axes.set_ylabel("test accuracy below the best recipe (points)")
    axes.set_title(f"What a search returns, {len(results.tasks)} tasks")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
