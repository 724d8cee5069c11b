"""What an entry of the tracking journal must hold, so that whoever reads it can rely on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["is_entry"]

_MAX_MS = 2**62


def is_entry(value: Any) -> bool:
    """Returns whether a JSON value is an entry, as :mod:`energytune.tracking.journal` lists them.

    More keys than these are no harm: a later version may write them.
    """
    if not isinstance(value, dict) or not isinstance(value.get("uid"), str):
        return False
    kind = value.get("kind")
    wanted = _KINDS.get(kind) if isinstance(kind, str) else None
    return wanted is not None and all(
        key in value and holds(value[key]) for key, holds in wanted.items()
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= _MAX_MS


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _are_points(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_point, value))


def _is_point(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    key, number, at_ms, step = value
    is_number = type(number) is float or (type(number) is int and abs(number) <= _MAX_MS)
    return isinstance(key, str) and is_number and _is_whole(at_ms) and _is_whole(step)


_KINDS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "run": {
        "parent": lambda value: value is None or isinstance(value, str),
        "experiment": _is_text,
        "name": _is_text,
        "start_ms": _is_whole,
        "tags": _are_texts,
        "params": _are_texts,
    },
    "log": {"metrics": _are_points, "tags": _are_texts},
    "file": {"path": _is_text},
    "end": {"status": _is_text, "end_ms": _is_whole, "tags": _are_texts},
}
"""Kind -> what it holds beside ``kind`` and ``uid``."""
