"""The winner's nearest trials in finetuning rate and tau: an optimum, or an end of the space?

Finetuning rate and tau act together: a head that was probed for long bears, and needs, another rate
than a random one. So the winner is looked at from four sides. Recipes of its head and depth lie at
(log ft_lr, log(1 + tau), label smoothing), each in widths of the search space. A trial is a
neighbour on a side if it went mainly there: its move along that dimension is at least as long as
its move in the other two together, and a factor of 1.1 at least. The nearest of these is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from energytune.config import Recipe, SearchSpace
from energytune.science.noise import SeedNoise, in_deviations
from energytune.trial import TrialRecord

__all__ = ["DIRECTIONS", "Direction", "Neighbour", "neighbours", "optimum"]

Direction = Literal["lower ft_lr", "higher ft_lr", "smaller tau", "larger tau"]
DIRECTIONS: tuple[Direction, ...] = ("lower ft_lr", "higher ft_lr", "smaller tau", "larger tau")

_AXES: dict[Direction, tuple[Literal["ft_lr", "tau"], int]] = {
    "lower ft_lr": ("ft_lr", -1),
    "higher ft_lr": ("ft_lr", 1),
    "smaller tau": ("tau", -1),
    "larger tau": ("tau", 1),
}
_LEAST_FACTOR = 1.1
"""In ft_lr or 1 + tau: what is nearer than that is the same recipe, and shows no slope."""
_STEP_FACTOR = 2.0
"""In ft_lr, from the winner to the recipe that is proposed where nothing was run."""


@dataclass(frozen=True)
class Neighbour:
    """What is known on one side of the winner; results are single runs on the search's seed.

    Attributes:
        direction: The side.
        record: The nearest trial there; one that shows no accuracy only if there is no other.
            None if none was run.
        accuracy: FT-valid-acc in [0, 1]: the best of a complete trial, the last of a pruned one;
            None without a trial, and for one that failed or was pruned before finetuning.
        epoch: Finetuning epoch of that accuracy, >= 1; None without one.
        difference: Winner minus it in FT-valid-acc, in [-1, 1]: of the best epochs, and against
            a pruned trial at the epoch where that ended. The winner was picked for being high,
            so that a small lead may be chance.
        deviations: The difference in seed deviations; None if there is no deviation above 0.
        untried: Where none was run: a recipe one step from the winner; None if the space ends.
    """

    direction: Direction
    record: TrialRecord | None
    accuracy: float | None = None
    epoch: int | None = None
    difference: float | None = None
    deviations: float | None = None
    untried: Recipe | None = None

    @property
    def is_at_bound(self) -> bool:
        """Whether nothing was run there because the search space ends at the winner."""
        return self.record is None and self.untried is None


def neighbours(
    winner: TrialRecord,
    records: Sequence[TrialRecord],
    space: SearchSpace,
    noise: SeedNoise | None = None,
) -> tuple[Neighbour, ...]:
    """Returns the winner's neighbours, one a direction, in the order of :data:`DIRECTIONS`.

    At tau = 0 label smoothing has no effect and is no distance.

    Args:
        winner: A complete trial of the search.
        records: Trials of the search, in any order; the winner, and repetitions of a trial, are
            passed over.
        space: What was searched.
        noise: Seed noise of the objective.
    """
    recipe = winner.job.recipe
    kind = (recipe.head_arch, recipe.reinit_depth)
    others = [
        r
        for r in records
        if r.duplicate_of is None
        and r.job.number != winner.job.number
        and (r.job.recipe.head_arch, r.job.recipe.reinit_depth) == kind
    ]
    return tuple(_neighbour(side, winner, others, space, noise) for side in DIRECTIONS)


def optimum(found: Sequence[Neighbour], winner: TrialRecord, space: SearchSpace) -> str:
    """Returns one sentence on whether the optimum looks interior or lies at the space's border.

    Dimensions that the space fixes are passed over, and so is what would be below tau = 0.

    Args:
        found: What :func:`neighbours` returned.
        winner: The winner.
        space: What was searched.

    Returns:
        ``""`` if a neighbour was better in its single run, or if rate and tau are both fixed.
    """
    fixed = space.fixed()
    sides = [n for n in found if _AXES[n.direction][0] not in fixed]
    if winner.job.recipe.tau == 0:
        sides = [n for n in sides if n.direction != "smaller tau"]
    if not sides or any(n.difference is not None and n.difference < 0 for n in sides):
        return ""
    bounds = [_bound(n.direction) for n in sides if n.is_at_bound]
    if bounds:
        return f"{' and '.join(bounds)}: widen {'it' if len(bounds) == 1 else 'them'}."
    missing = [n.direction for n in sides if n.difference is None]
    if missing:
        return f"Whether the optimum is interior is open: no result at {' and '.join(missing)}."
    axes = " or ".join(dict.fromkeys(_AXES[n.direction][0] for n in sides))
    text = f"he optimum looks interior: no neighbour in {axes} is better"
    is_least = winner.job.recipe.tau == 0 and "tau" not in fixed
    text = f"Beside tau = 0, the least there is, t{text}" if is_least else f"T{text}"
    close = [n.direction for n in sides if n.deviations is not None and n.deviations < 1]
    doubt = f", but {' and '.join(close)} by less than a seed deviation worse" if close else ""
    return f"{text}{doubt}."


def _neighbour(
    side: Direction,
    winner: TrialRecord,
    others: Sequence[TrialRecord],
    space: SearchSpace,
    noise: SeedNoise | None,
) -> Neighbour:
    ranked = [
        (record.state == "FAIL" or not record.epochs, distance, record.job.number, record)
        for record in others
        if (distance := _distance(side, winner.job.recipe, record.job.recipe, space)) is not None
    ]
    if not ranked:
        return Neighbour(side, None, untried=_step(side, winner.job.recipe, space))
    record = min(ranked, key=lambda entry: entry[:3])[3]
    if record.finished is not None:
        accuracy, epoch = record.finished.objective, record.finished.best_epoch
        ours = winner.objective
    elif record.state == "PRUNED" and record.epochs:
        accuracy, epoch = record.epochs[-1].valid_acc, record.epochs[-1].epoch
        # A winner that stopped by itself before has its best for good.
        curve = {e.epoch: e.valid_acc for e in winner.epochs}
        ours = curve.get(epoch, winner.objective)
    else:
        return Neighbour(side, record)
    difference = None if ours is None else ours - accuracy
    deviations = None if difference is None else in_deviations(difference, noise)
    return Neighbour(side, record, accuracy, epoch, difference, deviations)


def _distance(side: Direction, ours: Recipe, other: Recipe, space: SearchSpace) -> float | None:
    """Returns how far away a recipe is, in widths of the space; None if not on this side."""
    axis, sign = _AXES[side]
    logs = {
        "ft_lr": math.log(other.ft_lr / ours.ft_lr),
        "tau": math.log((1 + other.tau) / (1 + ours.tau)),
    }
    if sign * logs[axis] < math.log(_LEAST_FACTOR):
        return None
    is_probed = ours.tau > 0 and other.tau > 0
    smoothing = other.label_smoothing - ours.label_smoothing if is_probed else 0.0
    rates, taus, smoothings = space.ft_lr, space.tau, space.label_smoothing
    # What the space fixes has no width: it counts in its own unit.
    moves = {
        "ft_lr": logs["ft_lr"] / (math.log(rates.high / rates.low) or 1.0),
        "tau": logs["tau"] / (math.log((1 + taus.high) / (1 + taus.low)) or 1.0),
        "label_smoothing": smoothing / ((smoothings.high - smoothings.low) or 1.0),
    }
    aside = math.hypot(*(move for name, move in moves.items() if name != axis))
    return math.hypot(moves[axis], aside) if abs(moves[axis]) >= aside else None


def _step(side: Direction, recipe: Recipe, space: SearchSpace) -> Recipe | None:
    """Returns the recipe one step that way within the space; None if the space ends here.

    A step in tau leads to the next epoch of the probe's grid, one in ft_lr to its double or half.
    """
    axis, sign = _AXES[side]
    if axis == "tau":
        least = math.log(_LEAST_FACTOR)
        ahead = [t for t in space.taus() if sign * math.log((1 + t) / (1 + recipe.tau)) >= least]
        if not ahead:
            return None
        return recipe.model_copy(update={"tau": min(ahead) if sign > 0 else max(ahead)}).canonical()
    rates = space.ft_lr
    rate = float(f"{recipe.ft_lr * _STEP_FACTOR**sign:.4g}")
    rate = min(max(rate, rates.low), rates.high)
    if sign * math.log(rate / recipe.ft_lr) < math.log(_LEAST_FACTOR):
        return None
    return recipe.model_copy(update={"ft_lr": rate})


def _bound(side: Direction) -> str:
    axis, sign = _AXES[side]
    return f"{axis} is at the space's {'upper' if sign > 0 else 'lower'} bound"
