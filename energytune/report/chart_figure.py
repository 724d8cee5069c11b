"""Charts and bars as matplotlib figures, for notebooks; they touch no global state."""

from __future__ import annotations

import math

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from energytune.errors import ConfigError
from energytune.report.bars import Bars
from energytune.report.chart import MUTED, Axis, Chart, Panel, Series
from energytune.report.scales import position, ticks
from energytune.report.style import COLOURS, LINES, MARKERS

__all__ = ["draw_bars", "draw_chart"]

_MUTED = "#9a9fa8"
_PER_INCH = 80.0
_COLUMNS = 2


def draw_chart(chart: Chart | None, needs: str) -> Figure:
    """Returns a chart as a figure.

    Args:
        chart: What to draw.
        needs: What is missing where there is no chart, such as ``"a complete trial"``.

    Raises:
        ConfigError: There is no chart.
    """
    if chart is None:
        raise ConfigError(f"The figure needs {needs}; there is none yet.")
    n_columns = min(_COLUMNS, len(chart.panels))
    n_rows = math.ceil(len(chart.panels) / n_columns)
    width, height = chart.size
    figure = Figure(
        figsize=(n_columns * width / _PER_INCH, n_rows * height / _PER_INCH + 0.8),
        layout="constrained",
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes, panel in zip(grid.flat, chart.panels, strict=False):
        _draw_panel(axes, panel)
    for axes in list(grid.flat)[len(chart.panels) :]:
        axes.set_axis_off()
    figure.suptitle(chart.title)
    handles: dict[str, Artist] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=2 if width < 700 else 4,
            fontsize="small",
            frameon=False,
        )
    return figure


def draw_bars(bars: Bars) -> Figure:
    """Returns bars as a figure.

    Raises:
        ConfigError: There is nothing to draw; the message says why.
    """
    if not bars.rows:
        raise ConfigError(f"{bars.title}: {bars.finding}")
    figure = Figure(figsize=(7, 1.2 + 0.42 * len(bars.rows)), layout="constrained")
    axes = figure.subplots()
    for i, bar in enumerate(reversed(bars.rows)):
        axes.barh(i, bar.share, color=COLOURS[0], height=0.6)
        end = bar.share
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [i, i], color="#222222", marker="|", linewidth=1.2)
            end = max(end, bar.high)
        axes.annotate(f"  {bar.text}", (end, i), va="center", fontsize="small")
    axes.set_yticks(range(len(bars.rows)), [bar.name for bar in reversed(bars.rows)])
    axes.set_xticks([])
    axes.set_xlim(0, 1.35)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(bars.title, loc="left", fontsize="medium")
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        _draw_series(axes, panel, series)
    axes.set_xlim(*(_at(panel.x, v) for v in (panel.x.low, panel.x.high)))
    axes.set_ylim(*(_at(panel.y, v) for v in (panel.y.low, panel.y.high)))
    axes.spines[["top", "right"]].set_visible(False)
    if panel.rulers:
        _draw_rulers(axes, panel)
        return
    _set_ticks(axes.xaxis, panel.x, 6)
    _set_ticks(axes.yaxis, panel.y, 6)
    axes.set_xlabel(panel.x.label)
    if panel.names:
        axes.set_yticks([y for y, _ in panel.names], [text for _, text in panel.names])
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_ylabel(panel.y.label)
    axes.set_title(panel.title, loc="left", fontsize="medium")
    axes.grid(alpha=0.25)


def _draw_series(axes: Axes, panel: Panel, series: Series) -> None:
    muted = series.style == MUTED
    colour = _MUTED if muted else COLOURS[series.style % len(COLOURS)]
    marker = "." if muted else MARKERS[series.style % len(MARKERS)]
    x = [_at(panel.x, value) for value in series.x]
    y = [_at(panel.y, value) for value in series.y]
    label = series.name or None
    if series.kind == "band":
        axes.fill_between(x, series.low, series.high, color=colour, alpha=0.2, lw=0, label=label)
    elif series.kind == "line":
        axes.plot(
            x,
            y,
            color=colour,
            linestyle=LINES[series.dash % len(LINES)],
            linewidth=2.6 if series.strong else 0.8 if muted else 1.5,
            marker=marker if series.every else "",
            markevery=series.every or None,
            markersize=4.5,
            alpha=0.5 if muted else 1.0,
            label=label,
        )
    elif series.kind == "rings":
        axes.scatter(x, y, s=160, facecolors="none", edgecolors=colour, label=label)
    else:
        style = {"color": colour, "linewidth": 1.6, "zorder": 3}
        if series.kind == "whiskers":
            axes.vlines(x, series.low, series.high, **style)  # type: ignore[arg-type]
        if series.kind == "ranges":
            axes.hlines(y, series.low, series.high, **style)  # type: ignore[arg-type]
        axes.scatter(x, y, color=colour, marker=marker, s=30, zorder=4, label=label)


def _draw_rulers(axes: Axes, panel: Panel) -> None:
    for ruler in panel.rulers:
        axes.axvline(ruler.x, color="#555a63", linewidth=0.8, zorder=1)
        for y, text in ruler.ticks:
            axes.annotate(
                f" {text}",
                (ruler.x, y),
                va="center",
                fontsize="x-small",
                bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )
    axes.set_xticks([r.x for r in panel.rulers], [r.label for r in panel.rulers])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)


def _set_ticks(axis: object, spec: Axis, n_ticks: int) -> None:
    found = ticks(spec, n_ticks)
    axis.set_major_locator(FixedLocator([_at(spec, v) for v, _ in found]))  # type: ignore[attr-defined]
    axis.set_major_formatter(FixedFormatter([text for _, text in found]))  # type: ignore[attr-defined]


def _at(axis: Axis, value: float) -> float:
    """Returns where a value is drawn: axes that are bent are drawn by position."""
    return position(axis, value) if axis.kind in ("tau", "log") else value
