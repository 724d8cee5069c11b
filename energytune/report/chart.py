"""A chart as data: what a figure shows, its finding in words, and its numbers as a table.

Three things are made of one chart: SVG for the page (:mod:`energytune.report.chart_svg`), a
matplotlib figure for notebooks (:mod:`energytune.report.chart_figure`), and the table that stands
beside the SVG for those who can't see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["MUTED", "Axis", "Chart", "DataTable", "Panel", "Ruler", "Series"]

MUTED = -1
"""Style of what is drawn as background."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: What it measures, with the unit.
        kind: ``"linear"``; ``"percent"`` of a share in [0, 1]; ``"tau"``, logarithmic in
            1 + tau, so that it has 0; ``"log"``; ``"none"`` without ticks.
        low: Smallest value shown.
        high: Largest value shown, above ``low``.
    """

    label: str
    kind: Literal["linear", "percent", "tau", "log", "none"]
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """What is drawn in one style.

    Attributes:
        name: For the legend; empty is not listed there.
        kind: ``"points"``; ``"rings"`` round other points; ``"line"``; ``"band"`` between
            ``low`` and ``high`` along y; ``"whiskers"``, points with a range along y;
            ``"ranges"``, points with one along x.
        x: Values along x.
        y: Values along y, as many; not read of a band.
        style: Number of its colour and marker, or :data:`MUTED`.
        dash: Number of its dashes; 0 is a solid line.
        low: Lower ends of bands and ranges.
        high: Upper ends.
        labels: One a point, shown when it is pointed at; or empty.
        every: A line has a marker at each so many points; 0 is none.
        strong: Whether it stands out.
    """

    name: str
    kind: Literal["points", "rings", "line", "band", "whiskers", "ranges"]
    x: tuple[float, ...]
    y: tuple[float, ...] = ()
    style: int = 0
    dash: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    every: int = 0
    strong: bool = False


@dataclass(frozen=True)
class Ruler:
    """One upright axis of parallel coordinates.

    Attributes:
        x: Where it stands.
        label: What it measures.
        ticks: (y, text), ascending.
    """

    x: float
    label: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Panel:
    """One coordinate system.

    Attributes:
        title: What tells it from its neighbours; may be empty.
        x: The axis along x.
        y: The axis along y.
        series: In drawing order.
        rulers: Upright axes, which replace the ticks of both axes.
        names: (y, text) written at the left above that height: rows of ranges.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rulers: tuple[Ruler, ...] = ()
    names: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class DataTable:
    """Numbers as they are read.

    Attributes:
        caption: What they are.
        headers: One a column.
        rows: Texts, as many in each as there are headers.
    """

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        key: Short name, fit for an HTML id.
        title: What it is.
        finding: What it shows, in one or two sentences with numbers: its text alternative.
        panels: One or more.
        table: Its numbers.
        notes: What is left out, and why.
        size: (width, height) of a panel in pixels of a screen.
    """

    key: str
    title: str
    finding: str
    panels: tuple[Panel, ...]
    table: DataTable
    notes: tuple[str, ...] = field(default=())
    size: tuple[int, int] = (560, 330)

    def legend(self) -> tuple[Series, ...]:
        """Returns one series a name, in drawing order: what a legend lists."""
        found: dict[str, Series] = {}
        for panel in self.panels:
            for series in panel.series:
                if series.name:
                    found.setdefault(series.name, series)
        return tuple(found.values())
