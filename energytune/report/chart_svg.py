"""Charts as SVG for an HTML page: colours come from its style sheet, so that they follow its mode.

Text stays text: it can be searched, and the page makes it larger on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from markupsafe import Markup, escape

from energytune.report.chart import MUTED, Chart, Panel, Series
from energytune.report.scales import position, ticks

__all__ = ["N_STYLES", "panel_svg", "swatch_svg"]

N_STYLES = 7
"""Colours and markers that differ."""
N_DASHES = 4
_TOP, _BOTTOM, _RIGHT = 30, 54, 18
_LEFT, _LEFT_BARE = 66, 14
_TICK_PIXELS = 78
_R = 4.2


def panel_svg(chart: Chart, index: int) -> Markup:
    """Returns one panel of a chart as an ``<svg>`` element.

    Args:
        chart: The chart; its finding is the panel's text alternative.
        index: Which panel, >= 0.
    """
    panel = chart.panels[index]
    width, height = chart.size
    frame = _Frame(panel, width, height)
    key = f"{chart.key}-{index}"
    title = f"{chart.title}: {panel.title}" if panel.title else chart.title
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" class="w{width}" '
        f'aria-labelledby="{key}-t {key}-d" preserveAspectRatio="xMidYMid meet">',
        f'<title id="{key}-t">{escape(title)}</title>',
        f'<desc id="{key}-d">{escape(chart.finding)}</desc>',
        *(_rulers(frame) if panel.rulers else _axes(frame)),
    ]
    for series in panel.series:
        parts += _DRAW[series.kind](frame, series)
    parts += _ruler_texts(frame)
    for y, text in panel.names:
        at = frame.top + frame.height * (1 - position(panel.y, y)) - 15
        parts.append(f'<text x="{frame.left}" y="{at:.0f}" class="name">{escape(text)}</text>')
    return Markup("".join([*parts, "</svg>"]))


def swatch_svg(series: Series) -> Markup:
    """Returns how a series looks, as a small ``<svg>`` for a legend."""
    classes = _classes(series)
    inner = ""
    if series.kind == "band":
        inner = f'<path class="band {classes}" d="M1 3h28v10h-28z"/>'
    if series.kind == "line":
        inner = f'<path class="line {classes}" d="M1 8h28"/>'
    if series.kind in ("whiskers", "ranges"):
        inner = f'<path class="range {classes}" d="M4 8h22M4 4v8M26 4v8"/>'
    if series.kind == "rings":
        inner = f'<path class="ring {classes}" d="{_circle(15, 8, 6.5)}"/>'
    if series.kind in ("points", "whiskers", "ranges") or series.every:
        inner += f'<path class="mark {classes}" d="{_marker(series.style, 15, 8)}"/>'
    return Markup(f'<svg viewBox="0 0 30 16" class="swatch" aria-hidden="true">{inner}</svg>')


class _Frame:
    """Where the values of a panel lie in its picture."""

    def __init__(self, panel: Panel, width: int, height: int) -> None:
        self.panel = panel
        bare = panel.y.kind == "none" and not panel.rulers
        self.left = _LEFT_BARE if bare else 40 if panel.rulers else _LEFT
        self.right = width - (56 if panel.rulers else _RIGHT)
        self.top = 8 if bare else _TOP
        self.bottom = height - (18 if panel.rulers else _BOTTOM)
        self.width, self.height = self.right - self.left, self.bottom - self.top

    def x(self, value: float) -> float:
        return self.left + self.width * position(self.panel.x, value)

    def y(self, value: float) -> float:
        return self.bottom - self.height * position(self.panel.y, value)

    def points(self, series: Series) -> Iterator[tuple[int, float, float]]:
        """Yields (index, x, y) of what is finite and within the frame."""
        for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
            if math.isfinite(x) and math.isfinite(y):
                at, up = self.x(x), self.y(y)
                if self.left - 1 <= at <= self.right + 1 and self.top - 1 <= up <= self.bottom + 1:
                    yield i, at, up

    def clip(self, y: float) -> float:
        return min(max(self.y(y), self.top), self.bottom)


def _axes(frame: _Frame) -> list[str]:
    panel = frame.panel
    parts = []
    rows = ticks(panel.y, max(2, round(frame.height / 46)))
    for value, text in rows:
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.left} {y:.1f}H{frame.right}"/>')
        parts.append(f'<text class="ytick" x="{frame.left - 8}" y="{y + 4:.1f}">{text}</text>')
    for value, text in ticks(panel.x, max(2, round(frame.width / _TICK_PIXELS))):
        x = frame.x(value)
        edge = "M{0:.1f} {1}V{2}" if not rows else "M{0:.1f} {2}v4"
        parts.append(
            f'<path class="grid" d="{edge.format(x, frame.top, frame.bottom)}"/>'
            f'<text class="xtick" x="{x:.1f}" y="{frame.bottom + 20}">{text}</text>'
        )
    parts.append(f'<path class="axis" d="M{frame.left} {frame.bottom}H{frame.right}"/>')
    if panel.y.kind != "none":
        parts.append(f'<text class="ylabel" x="4" y="16">{escape(panel.y.label)}</text>')
    parts.append(
        f'<text class="xlabel" x="{frame.right}" y="{frame.bottom + 46}">'
        f"{escape(panel.x.label)}</text>"
    )
    return parts


def _rulers(frame: _Frame) -> list[str]:
    parts = []
    for ruler in frame.panel.rulers:
        x = frame.x(ruler.x)
        parts.append(f'<path class="axis" d="M{x:.1f} {frame.top}V{frame.bottom}"/>')
        parts.append(f'<text class="xtick" x="{x:.1f}" y="16">{escape(ruler.label)}</text>')
        for y, _ in ruler.ticks:
            parts.append(f'<path class="axis" d="M{x:.1f} {frame.y(y):.1f}h4"/>')
    return parts


def _ruler_texts(frame: _Frame) -> list[str]:
    """Returns the tick texts of upright axes, to be written above the lines."""
    return [
        f'<text class="rule" x="{frame.x(ruler.x) + 7:.1f}" y="{frame.y(y) + 4:.1f}">'
        f"{escape(text)}</text>"
        for ruler in frame.panel.rulers
        for y, text in ruler.ticks
    ]


def _line(frame: _Frame, series: Series) -> list[str]:
    path, parts, last = [], [], None
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not (math.isfinite(x) and math.isfinite(y)):
            last = None
            continue
        path.append(f"{'L' if last == i - 1 else 'M'}{frame.x(x):.1f} {frame.clip(y):.1f}")
        last = i
    told = _told(series.labels[0] if series.labels else series.name)
    # One path: text written with it is told for all of it.
    parts.append(f'<path class="line {_classes(series)}" d="{"".join(path)}">{told}</path>')
    if series.every:
        # Lines that end together are told apart where they start as well.
        marks = [p for p in frame.points(series) if p[0] % series.every == series.style % 2]
        d = "".join(_marker(series.style, x, y, 3.0) for _, x, y in marks)
        parts.append(f'<path class="mark {_classes(series)}" d="{d}"/>')
    return parts


def _points(frame: _Frame, series: Series) -> list[str]:
    parts = []
    for i, x, y in frame.points(series):
        told = _told(series.labels[i] if series.labels else "")
        d = _marker(series.style, x, y, _R + 1.3 * series.strong)
        parts.append(f'<path class="mark {_classes(series)}" d="{d}">{told}</path>')
    return parts


def _rings(frame: _Frame, series: Series) -> list[str]:
    return [
        f'<path class="ring {_classes(series)}" d="{_circle(x, y, 2.2 * _R)}"/>'
        for _, x, y in frame.points(series)
    ]


def _band(frame: _Frame, series: Series) -> list[str]:
    there = [
        (frame.x(x), frame.clip(low), frame.clip(high))
        for x, low, high in zip(series.x, series.low, series.high, strict=True)
        if math.isfinite(x + low + high)
    ]
    if not there:
        return []
    edge = [f"{x:.1f} {high:.1f}" for x, _, high in there]
    edge += [f"{x:.1f} {low:.1f}" for x, low, _ in reversed(there)]
    return [f'<path class="band {_classes(series)}" d="M{"L".join(edge)}Z"/>']


def _whiskers(frame: _Frame, series: Series) -> list[str]:
    parts = []
    for i, x, _ in frame.points(series):
        low, high = frame.clip(series.low[i]), frame.clip(series.high[i])
        d = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
        parts.append(f'<path class="range {_classes(series)}" d="{d}"/>')
    return parts + _points(frame, series)


def _ranges(frame: _Frame, series: Series) -> list[str]:
    parts = []
    for i, _, y in frame.points(series):
        low, high = frame.x(series.low[i]), frame.x(series.high[i])
        d = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 5:.1f}v10M{high:.1f} {y - 5:.1f}v10"
        parts.append(f'<path class="range {_classes(series)}" d="{d}"/>')
    return parts + _points(frame, series)


_DRAW = {
    "line": _line,
    "points": _points,
    "rings": _rings,
    "band": _band,
    "whiskers": _whiskers,
    "ranges": _ranges,
}


def _classes(series: Series) -> str:
    colour = "muted" if series.style == MUTED else f"c{series.style % N_STYLES}"
    dash = f" d{series.dash % N_DASHES}" if series.dash else ""
    return colour + dash + (" strong" if series.strong else "")


def _told(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _marker(style: int, x: float, y: float, r: float = _R) -> str:
    """Returns the outline of marker ``style`` round a point: seven shapes, and a small dot."""
    if style == MUTED:
        return _circle(x, y, r * 0.6)
    shape = style % N_STYLES
    if shape == 0:
        return _circle(x, y, r)
    return _polygon(x, y, r, _SHAPES[shape - 1])


def _circle(x: float, y: float, r: float) -> str:
    arc = f"a{r:.1f} {r:.1f} 0 1 0"
    return f"M{x - r:.1f} {y:.1f}{arc} {2 * r:.1f} 0{arc} {-2 * r:.1f} 0z"


def _polygon(x: float, y: float, r: float, corners: tuple[tuple[float, float], ...]) -> str:
    return "M" + "L".join(f"{x + r * a:.1f} {y + r * b:.1f}" for a, b in corners) + "z"


_T = 0.36
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    ((0, -1.3), (1.1, 0), (0, 1.3), (-1.1, 0)),
    ((0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
    (
        *((-_T, -1.2), (_T, -1.2), (_T, -_T), (1.2, -_T), (1.2, _T), (_T, _T)),
        *((_T, 1.2), (-_T, 1.2), (-_T, _T), (-1.2, _T), (-1.2, -_T), (-_T, -_T)),
    ),
    ((0, -1.3), (0.4, -0.4), (1.3, 0), (0.4, 0.4), (0, 1.3), (-0.4, 0.4), (-1.3, 0), (-0.4, -0.4)),
)
"""Square, triangle, diamond, triangle on its tip, cross, star."""
