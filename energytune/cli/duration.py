"""Durations as people write them, and the other way round."""

from __future__ import annotations

import re

from energytune.errors import ConfigError

__all__ = ["format_seconds", "parse_duration"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_S = 1000 * 365.0 * 86400.0
_PART = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)")


def parse_duration(text: str, *, option: str = "--time-budget", may_be_zero: bool = False) -> float:
    """Returns seconds, > 0, for ``"90s"``, ``"30m"``, ``"2h"``, ``"1h30m"`` or ``"1.5h"``.

    Args:
        text: As it was written.
        option: Whose value it is, for the message.
        may_be_zero: Whether ``"0s"`` is a value.

    Raises:
        ConfigError: It is no duration, has no unit, or is 0 where it may not be.
    """
    compact = "".join(text.split()).lower()
    parts = _PART.findall(compact)
    advice = "Write a number with a unit s, m, h or d, for example 90s, 30m, 2h or 1h30m."
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ConfigError(f"{option} must be a duration, got {text!r}. {advice}")
    seconds = 0.0
    for number, unit in parts:
        if not unit:
            raise ConfigError(f"{option} {text!r} has no unit after {number}. {advice}")
        if unit not in _UNITS:
            raise ConfigError(f"{option} {text!r}: unknown unit {unit!r}. {advice}")
        seconds += float(number) * _UNITS[unit]
    if seconds > _MAX_S:
        raise ConfigError(f"{option} must be at most 1000 years, got {text!r}. {advice}")
    if seconds <= 0 and not may_be_zero:
        raise ConfigError(f"{option} must be longer than 0 s, got {text!r}. {advice}")
    return seconds


def format_seconds(seconds: float) -> str:
    """Returns ``"0.4 s"``, ``"12 s"``, ``"3:05"`` (minutes) or ``"1:02:03"`` (hours)."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
