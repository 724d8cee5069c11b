"""How the guide writes numbers."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["listed", "percent"]


def percent(share: float) -> str:
    """Returns ``"92.0 %"`` for 0.92."""
    return f"{100 * share:.1f} %"


def listed(things: Sequence[object]) -> str:
    """Returns ``"1, 2 and 3"``; empty for no thing."""
    texts = [str(thing) for thing in things]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
