"""Who of the driver's parts takes its CPU time: each second is the innermost part's alone."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from time import process_time
from typing import Any

__all__ = ["Parts"]


class Parts:
    """Replaces methods of objects by ones that are timed.

    Attributes:
        seconds: CPU seconds by part; what no part took is its caller's.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside: list[str] = []
        self._since_s = 0.0

    def time(self, part: str, target: Any, *names: str) -> None:
        """Counts the calls of ``target``'s methods ``names`` as ``part``."""
        for name in names:
            setattr(target, name, self.timed(part, getattr(target, name)))

    def timed(self, part: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """Returns ``do``, counted as ``part``."""

        @functools.wraps(do)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._inside.append(part)
            try:
                return do(*args, **kwargs)
            finally:
                self._turn()
                self._inside.pop()

        return wrapped

    def _turn(self) -> None:
        """Gives the time since the last turn to the innermost part."""
        now_s = process_time()
        if self._inside:
            self.seconds[self._inside[-1]] += now_s - self._since_s
        self._since_s = now_s
