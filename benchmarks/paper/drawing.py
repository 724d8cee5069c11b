"""How the figures of the paper's experiments are drawn, in the style of the package's reports."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper.statistics import Effect
from energytune.report.style import line_style

__all__ = ["band", "epoch_axis", "new_figure", "tau_name"]


def new_figure(n_rows: int, n_columns: int, title: str) -> tuple[Figure, list[Axes]]:
    """Returns an empty figure with a title, and its axes row by row."""
    figure = Figure(figsize=(4.3 * n_columns, 3.2 * n_rows), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for one in axes.flat:
        one.grid(visible=True, alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes.flat)


def band(
    axes: Axes, x: Sequence[float], values: Sequence[Effect], index: int, label: str = ""
) -> None:
    """Draws means as line ``index`` with their 95 % intervals as a band."""
    style = line_style(index)
    axes.plot(x, [value.mean for value in values], label=label or None, **style)
    low, high = [value.low for value in values], [value.high for value in values]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def epoch_axis(axes: Axes) -> None:
    """Makes x a log axis of finetuning epochs that shows 0 as well."""
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.5)
    axes.set_xlim(left=-0.2)
    axes.xaxis.set_major_formatter(lambda epoch, _: f"{epoch:g}")
    axes.set_xlabel("finetuning epoch")


def tau_name(tau: int, tau_max: int) -> str:
    """Returns a line's name."""
    return f"tau = {tau}" + (" (longest)" if tau == tau_max else "")
