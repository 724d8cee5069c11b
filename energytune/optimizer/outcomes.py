"""What a study's trials say of whole finetunes, those that were stopped included."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["Outcome", "outcomes", "value_until"]

_DOUBT = 0.5
"""Doubt of a trial that has seen the first step only; it falls evenly to 0 at the end."""


@dataclass(frozen=True)
class Outcome:
    """One trial that was begun.

    Attributes:
        trial: The trial.
        value: What a whole finetune would have given, higher is better; None if the trial failed,
            or has not told anything yet.
        doubt: How much less certain that is than a whole finetune, >= 0, in units of the variance
            of all values.
        failed: Whether it failed, or has come to nothing finite.
    """

    trial: FrozenTrial
    value: float | None
    doubt: float
    failed: bool = False


def outcomes(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[Outcome]:
    """Returns an outcome for each trial that was begun, in the given order.

    The value of a trial that was stopped is its best reported one, plus what other trials have
    gained between the steps that it has not seen: from each step at which trials were stopped to
    the next, the median gain of those that saw both.

    Args:
        trials: Of one single-objective study.
        direction: The study's.
    """
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    begun = [t for t in trials if t.state != TrialState.WAITING]
    curves = [_best_so_far(trial, sign) for trial in begun]
    ends = {curve[-1][0] for curve in curves if curve}
    levels = [*sorted(ends - {math.inf}), math.inf]
    gains = [_gain(curves, low, high) for low, high in pairwise(levels)]
    return [_outcome(t, curve, levels, gains) for t, curve in zip(begun, curves, strict=True)]


def value_until(curve: Sequence[tuple[float, float]], step: float) -> float | None:
    """Returns the best value up to ``step`` of an ascending curve, None if it starts later."""
    place = bisect_right(curve, (step, math.inf))
    return curve[place - 1][1] if place else None


def _best_so_far(trial: FrozenTrial, sign: float) -> list[tuple[float, float]]:
    """Returns (step, best value up to it); a complete trial ends at (inf, its value)."""
    curve: list[tuple[float, float]] = []
    best = -math.inf
    for step, value in sorted(trial.intermediate_values.items()):
        if math.isfinite(value):
            best = max(best, sign * value)
        if math.isfinite(best):
            curve.append((float(step), best))
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        value = sign * trial.value
        if math.isfinite(value):
            curve.append((math.inf, value))
    return curve


def _gain(curves: Iterable[Sequence[tuple[float, float]]], low: float, high: float) -> float:
    """Returns the median gain from step ``low`` to ``high`` of the curves that go so far."""
    gains = []
    for curve in curves:
        if curve and curve[-1][0] >= high:
            before, after = value_until(curve, low), value_until(curve, high)
            if before is not None and after is not None:
                gains.append(after - before)
    return max(0.0, float(np.median(gains))) if gains else 0.0


def _outcome(
    trial: FrozenTrial,
    curve: Sequence[tuple[float, float]],
    levels: Sequence[float],
    gains: Sequence[float],
) -> Outcome:
    if trial.state == TrialState.FAIL or (trial.state == TrialState.COMPLETE and not curve):
        return Outcome(trial, None, 0.0, failed=True)
    if not curve:
        return Outcome(trial, None, _DOUBT)
    step, value = curve[-1]
    if math.isinf(step):
        return Outcome(trial, value, 0.0)
    reached = max(0, bisect_right(levels, step) - 1)
    n_left = len(gains) - reached
    return Outcome(trial, value + sum(gains[reached:]), _DOUBT * n_left / max(1, len(gains)))
