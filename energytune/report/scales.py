"""Where a value lies on an axis, and where an axis has its ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from energytune.report.chart import Axis

__all__ = ["fit_axis", "position", "ticks"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def fit_axis(
    label: str, values: Iterable[float], *, percent: bool = False, pad: float = 0.06
) -> Axis:
    """Returns a linear axis that holds all values, with room around them.

    Args:
        label: What it measures.
        values: What it must hold; those that are not finite are passed over.
        percent: Whether the values are shares in [0, 1], written in percent.
        pad: Room on both sides as a share of the range.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = pad * (high - low) or 0.02 * abs(high) or 0.02
    low, high = low - room, high + room
    if percent:  # no share lies beyond these
        low, high = max(low, -0.01), min(high, 1.01)
    return Axis(label, "percent" if percent else "linear", low, high)


def position(axis: Axis, value: float) -> float:
    """Returns where a value lies between the ends of an axis, 0 to 1; outside it, beyond."""
    low, high, at = (_warped(axis, v) for v in (axis.low, axis.high, value))
    return (at - low) / (high - low)


def ticks(axis: Axis, n_ticks: int = 6) -> list[tuple[float, str]]:
    """Returns about so many round values within an axis, ascending, with their texts."""
    if axis.kind == "none":
        return []
    if axis.kind == "tau":
        values = [0.0, *(4.0**i for i in range(12))]
        inside = [v for v in values if axis.low <= v <= axis.high]
        return [(v, f"{v:g}" if v < 10_000 else f"{v / 1000:.0f}k") for v in inside]
    if axis.kind == "log":
        return _log_ticks(axis)
    return _linear_ticks(axis, n_ticks)


def _warped(axis: Axis, value: float) -> float:
    if axis.kind == "tau":
        return math.log2(1.0 + max(value, -0.5))
    return math.log10(value) if axis.kind == "log" else value


def _linear_ticks(axis: Axis, n_ticks: int) -> list[tuple[float, str]]:
    rough = (axis.high - axis.low) / max(1, n_ticks)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * s for s in _STEPS if size * s >= rough * (1 - 1e-9))
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    values = [i * step for i in range(first, last + 1)]
    if axis.kind == "percent":
        digits = _digits(100 * step)
        return [(v, f"{100 * v:.{digits}f} %") for v in values]
    digits = _digits(step)
    return [(v, f"{v + 0.0:,.{digits}f}") for v in values]


def _digits(step: float) -> int:
    """Returns how many digits behind the point a multiple of ``step`` needs."""
    digits = int(max(0, -math.floor(math.log10(step) + 1e-9)))
    scaled = step * 10**digits
    return digits + 1 if abs(round(scaled) - scaled) > 1e-9 * 10**digits else digits


def _log_ticks(axis: Axis) -> list[tuple[float, str]]:
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    values = [f * 10.0**e for e in range(first, last + 1) for f in factors]
    return [(v, f"{v:g}") for v in values if axis.low * 0.999 <= v <= axis.high * 1.001]
