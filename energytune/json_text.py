"""JSON from files that may be damaged or hostile: one error for all that can be wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["MAX_BYTES", "parse_json", "read_json"]

MAX_BYTES = 64 << 20
"""Largest file that is read: the largest of our own, a search's description, has some MB."""


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: It is no JSON, no UTF-8, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        OSError: It can't be read.
        ValueError: As :func:`parse_json`, or it has more than :data:`MAX_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    return parse_json(content)
