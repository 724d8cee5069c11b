"""How long a search waits for MLflow at its end: while MLflow answers, and no longer."""

from __future__ import annotations

import time
from typing import Protocol

from energytune.tracking.client import answers

__all__ = ["PATIENCE_S", "Patience", "Work"]

PATIENCE_S = 1.2
"""Seconds that a search waits in all for a server that does not answer. With what the journal
takes, tracking blocks a search for less than 2 s."""
_PAUSE_S = 0.25


class Work(Protocol):
    """What is waited for: a thread, or the answer of another process."""

    def is_alive(self) -> bool:
        """Returns whether it has not ended."""
        ...

    def join(self, timeout_s: float, /) -> None:
        """Returns when it has ended, or time is over."""
        ...


class Patience:
    """Waits for work that talks to MLflow and is done elsewhere.

    As long as the server answers, work is worth waiting for: runs are sent, a model is uploaded.
    The time in which it does not is counted over all waits, and when it is used up nothing is
    waited for any more; the work is left alone, and ``energytune sync`` does it later.

    Args:
        uri: Tracking server or database.
        budget_s: Seconds without an answer, in all.
    """

    def __init__(self, uri: str, budget_s: float = PATIENCE_S) -> None:
        self._uri, self._budget_s = uri, budget_s
        self.spent_s = 0.0
        """Seconds waited for a server that did not answer."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for any more."""
        return self.spent_s >= self._budget_s

    def end(self) -> None:
        """Waits for nothing any more."""
        self.spent_s = max(self.spent_s, self._budget_s)

    def wait(self, work: Work, timeout_s: float = float("inf")) -> bool:
        """Returns whether work has ended, once it has or there is no patience left.

        Args:
            work: Begun.
            timeout_s: Seconds to wait at most, also while the server answers.
        """
        started = heard_s = time.monotonic()
        while work.is_alive() and not self.is_over:
            left_s = started + timeout_s - time.monotonic()
            if left_s <= 0:
                break
            work.join(min(_PAUSE_S, left_s, self._budget_s - self.spent_s))
            if not work.is_alive():
                break
            silent_s = time.monotonic() - heard_s
            # a machine may hold this process up for longer than that: no server is given up unasked
            may_take_s = max(self._budget_s - self.spent_s - silent_s, _PAUSE_S)
            if answers(self._uri, may_take_s):
                heard_s = time.monotonic()
                continue
            now = time.monotonic()
            self.spent_s += now - heard_s
            heard_s = now
        return not work.is_alive()
