"""Sizes in bytes as people write them, and the other way round."""

from __future__ import annotations

import re

from energytune.errors import ConfigError

__all__ = ["format_bytes", "parse_bytes"]

_DECIMAL = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS = _DECIMAL | _BINARY
_MAX_DIGITS = 20
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)")


def parse_bytes(text: str, name: str) -> int:
    """Returns a number of bytes, >= 0, for ``"20GB"`` (10**9), ``"512MiB"`` (2**20) or ``"0"``.

    Args:
        text: A number and a unit; spaces and case don't matter.
        name: The setting that holds it, for the message.

    Raises:
        ConfigError: It is no size, or has no unit or an unknown one.
    """
    advice = "Write a number with a unit, for example 20GB, 1.5TB or 512MiB."
    compact = "".join(text.split()).lower()
    match = _SIZE.fullmatch(compact)
    if match is None:
        raise ConfigError(f"{name} must be a size, got {text!r}. {advice}")
    number, unit = match.groups()
    if not unit and number.strip("0."):
        raise ConfigError(f"{name} must have a unit, got {text!r}. {advice}")
    if unit and unit not in _UNITS:
        raise ConfigError(f"{name} has the unknown unit {unit!r}, got {text!r}. {advice}")
    if len(number) > _MAX_DIGITS:
        raise ConfigError(f"{name} must have at most {_MAX_DIGITS} digits, got {text!r}. {advice}")
    return round(float(number) * _UNITS.get(unit, 1))


def format_bytes(n_bytes: int) -> str:
    """Returns ``"0 B"``, ``"12.3 kB"`` or ``"25.3 GB"``: decimal units, one digit."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= 0.99995 * size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"
