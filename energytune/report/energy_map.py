"""The figure of an energy map: what is learned and what energy is left, at every tau."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from energytune.report.energy_lines import HeadLine, head_lines
from energytune.report.style import COLOURS, MARKERS, percent_axis, tau_axis
from energytune.science.energy_levels import reserved_energy

__all__ = ["plot_probe_map"]

_DASHES: dict[str, Any] = {"linear": "-", "mlp": (0, (3, 1.4))}
_RESERVE_DASHES: Any = (0, (9, 5))
_INK = "#444444"
_ROW_INCHES = 3.5
_LEGEND_INCHES = 1.1
_LEGEND_COLUMNS = 5
_LABEL_GAP = 0.04
"""Least distance of two reserves' labels, as a share of the axis: one line of text."""


@dataclass(frozen=True)
class _Code:
    """Which property of a head its colour, dashes and marker tell."""

    colours: dict[Hashable, str]
    markers: dict[Hashable, str]
    by_smoothing: bool
    by_rate: bool

    def colour_key(self, line: HeadLine) -> Hashable:
        if self.by_smoothing:
            return line.label_smoothing
        return _rate(line) if self.by_rate else line.head_arch

    def marker_key(self, line: HeadLine) -> Hashable:
        return _rate(line) if self.by_rate else line.head_arch

    def style(self, line: HeadLine) -> dict[str, Any]:
        """Returns how matplotlib draws the line."""
        return {
            "color": self.colours[self.colour_key(line)],
            "marker": self.markers[self.marker_key(line)],
            "linestyle": _DASHES.get(line.head_arch, "-."),
            "linewidth": 1.5,
            "markersize": 3.6,
            "markeredgecolor": "white",
            "markeredgewidth": 0.4,
        }


def plot_probe_map(
    frame: pd.DataFrame, n_classes: int | None, *, score: str = "HP-train-acc", title: str = ""
) -> Figure:
    """Plots training score and AIE against tau: one line a head, a pair of panels a depth.

    Several seeds give their mean, in a band from the smallest to the largest. Dashes tell the
    head, colours the label smoothing (or the rate, or the head, where nothing else varies),
    markers the rate. A thin line in a smoothing's colour is the energy it reserves; a ring is
    where heads were stopped as converged.

    Args:
        frame: The map, as :func:`energytune.report.energy_lines.head_lines` reads it.
        n_classes: K of a softmax task, >= 1; None draws no reserves.
        score: Name of the training score in ``hp_train_acc``.
        title: What was probed, for example dataset and backbone.

    Raises:
        DataError: A column is missing, or there is no row.
    """
    lines = head_lines(frame)
    code = _encode(lines)
    depths = sorted({line.reinit_depth for line in lines})
    height = _ROW_INCHES * len(depths) + _LEGEND_INCHES
    figure = Figure(figsize=(10.5, height), layout="constrained")
    panels = figure.subplots(len(depths), 2, sharex=True, sharey="col", squeeze=False)
    for depth, (left, right) in zip(depths, panels, strict=True):
        here = [line for line in lines if line.reinit_depth == depth]
        where = f", depth {depth}" if len(depths) > 1 or depth else ""
        is_last = depth == depths[-1]
        _draw(left, here, "hp_train_acc", code)
        _draw(right, here, "aie", code)
        _finish(left, f"What the head knows{where}", is_last)
        _finish(right, f"What energy is left{where}", is_last)
        percent_axis(left, score)
        left.set_ylim(0, 1.03)
        right.set_ylabel("adaptation energy (AIE)")
        right.set_ylim(bottom=0)
        if n_classes is not None:
            _draw_reserves(right, here, code, n_classes)
    figure.suptitle(_title(title, lines), fontweight="bold")
    handles = _legend(lines, code, has_reserves=n_classes is not None)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), _LEGEND_COLUMNS),
        fontsize="small",
        frameon=False,
    )
    return figure


def _title(title: str, lines: Sequence[HeadLine]) -> str:
    what = f"Energy map: {title}" if title else "Energy map"
    n_seeds = max(line.n_seeds for line in lines)
    return what + (f" (mean of {n_seeds} seeds, band: lowest to highest)" if n_seeds > 1 else "")


def _rate(line: HeadLine) -> tuple[float, float]:
    return line.lr, line.weight_decay


def _encode(lines: Sequence[HeadLine]) -> _Code:
    smoothings = sorted({line.label_smoothing for line in lines})
    rates = sorted({_rate(line) for line in lines})
    archs = sorted({line.head_arch for line in lines})
    by_smoothing, by_rate = len(smoothings) > 1, len(rates) > 1
    coloured: list[Any] = smoothings if by_smoothing else rates if by_rate else archs
    marked: list[Any] = rates if by_rate else archs
    return _Code(
        colours=dict(zip(coloured, _palette(len(coloured)), strict=True)),
        markers={key: MARKERS[i % len(MARKERS)] for i, key in enumerate(marked)},
        by_smoothing=by_smoothing,
        by_rate=by_rate,
    )


def _palette(n: int) -> list[str]:
    """Returns ``n`` colours that differ for colour-blind readers."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    scale = colormaps["viridis"]  # even in lightness; without its palest end
    return [to_hex(scale(0.9 * i / (n - 1))) for i in range(n)]


def _draw(axes: Axes, lines: Sequence[HeadLine], column: str, code: _Code) -> None:
    for line in lines:
        style = code.style(line)
        taus, mean = line.mean.index.to_numpy(), line.mean[column].to_numpy()
        axes.plot(taus, mean, **style)
        if line.n_seeds > 1:
            low, high = line.low[column].to_numpy(), line.high[column].to_numpy()
            axes.fill_between(taus, low, high, color=style["color"], alpha=0.13, linewidth=0)
        if line.converged:
            axes.plot(taus[-1:], mean[-1:], **_RING, color=style["color"])


_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 8.5,
    "markerfacecolor": "none",
    "markeredgewidth": 1.4,
    "linestyle": "none",
}


def _finish(axes: Axes, title: str, is_last: bool) -> None:
    """Sets axis and title; panels that stand on others share the lowest one's label."""
    tau_axis(axes)
    if not is_last:
        axes.set_xlabel("")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize="medium")


def _draw_reserves(axes: Axes, lines: Sequence[HeadLine], code: _Code, n_classes: int) -> None:
    """Draws the energy that each smoothing reserves, with a label where there is room."""
    top, labelled = axes.get_ylim()[1], -math.inf
    for smoothing in sorted({line.label_smoothing for line in lines} - {0.0}):
        reserve = reserved_energy(smoothing, n_classes)
        colour = code.colours[smoothing] if code.by_smoothing else _INK
        axes.axhline(reserve, color=colour, linewidth=0.9, linestyle=_RESERVE_DASHES, zorder=1)
        if reserve - labelled >= _LABEL_GAP * top:
            labelled = reserve
            axes.annotate(
                f"{reserve:.3f}",
                (1.0, reserve),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="x-small",
                color=colour,
            )


def _legend(lines: Sequence[HeadLine], code: _Code, has_reserves: bool) -> list[Line2D]:
    """Returns one entry a value of what varies, then ring and reserve where they are drawn."""
    handles = []
    archs = sorted({line.head_arch for line in lines})
    for arch in archs:
        one = next(line for line in lines if line.head_arch == arch)
        style = code.style(one)
        if code.by_smoothing or code.by_rate:
            style["color"] = _INK
        if code.by_rate:
            style["marker"] = ""
        handles.append(Line2D([], [], **style, label=f"{arch} head"))
    if code.by_smoothing:
        for smoothing in sorted({line.label_smoothing for line in lines}):
            label = f"label smoothing {smoothing:g}" if smoothing else "no label smoothing"
            handles.append(Line2D([], [], color=code.colours[smoothing], lw=2.5, label=label))
    if code.by_rate:
        many_decays = len({line.weight_decay for line in lines}) > 1
        for lr, decay in sorted({_rate(line) for line in lines}):
            colour = _INK if code.by_smoothing else code.colours[lr, decay]
            label = f"rate {lr:g}" + (f", decay {decay:g}" if many_decays else "")
            marker = code.markers[lr, decay]
            handles.append(Line2D([], [], color=colour, marker=marker, ls="none", label=label))
    if any(line.converged for line in lines):
        handles.append(Line2D([], [], color=_INK, **_RING, label="stopped: converged"))
    if has_reserves and any(line.label_smoothing for line in lines):
        dashes = {"color": _INK, "linewidth": 0.9, "linestyle": _RESERVE_DASHES}
        handles.append(Line2D([], [], **dashes, label="energy that smoothing reserves"))
    return handles
