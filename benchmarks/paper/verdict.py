"""What a rule says of a claim on one task.

The rules in :mod:`benchmarks.paper.rules_sweep` and :mod:`benchmarks.paper.rules_arms` were written
down, bounds included, before the committed runs were looked at. Each takes the raw rows of its
experiment on one task and returns a verdict:

- ``holds``: the whole 95 % interval of the effect lies on the claimed side of the bound,
- ``does not hold``: it does not, which is said of a wide interval around 0 as well as of the
  opposite; the sentence tells which,
- ``not testable``: the task does not meet the claim's condition, or the experiment is not there.

No correction is made for ten claims on several tasks: of fifty intervals two or three miss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.paper.statistics import Effect, Row, mean_of

__all__ = ["CONVERGED", "Claim", "Verdict", "decide", "not_converged", "points", "untestable"]

Outcome = Literal["holds", "does not hold", "not testable"]

CONVERGED = 0.99
"""Training score of a probed head from which it is taken for converged, or for at its ceiling."""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim on one task.

    Attributes:
        outcome: The verdict.
        effect: What was decided by.
        unit: Of the effect; ``"points"`` are percentage points of the task's metric.
        sentence: What was compared, and what else there is to know.
    """

    outcome: Outcome
    effect: Effect
    unit: str
    sentence: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        key: Short name.
        statement: What is claimed.
        experiment: Whose rows decide.
        rule: Decides.
    """

    key: str
    statement: str
    experiment: str
    rule: Callable[[Sequence[Row]], Verdict]


def untestable(sentence: str) -> Verdict:
    """Returns the verdict of what can't be decided."""
    return Verdict("not testable", Effect(math.nan, math.nan, math.nan, 0), "", sentence)


def decide(*, holds: bool, found: Effect, unit: str, sentence: str) -> Verdict:
    """Returns the verdict; an effect without an interval decides nothing."""
    if math.isnan(found.low):
        return untestable(f"{sentence} Fewer than two seeds.")
    outcome: Outcome = "holds" if holds else "does not hold"
    if not holds:
        crosses = found.low <= 0 <= found.high
        sentence += " The interval includes 0." if crosses else ""
    return Verdict(outcome, found, unit, sentence)


def points(found: Effect) -> Effect:
    """Returns a share in percent or percentage points."""
    return Effect(100 * found.mean, 100 * found.low, 100 * found.high, found.n)


def not_converged(rows: Sequence[Row]) -> str | None:
    """Returns why the probed heads do not stand for converged ones; None if they do."""
    score = mean_of(rows, "hp_train_acc")
    if score >= CONVERGED:
        return None
    return f"The head has not converged to its targets: HP-train score {100 * score:.1f} %."
