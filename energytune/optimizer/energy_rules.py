"""Decisions before finetuning, from probing alone: pure functions of probed trials.

They never say "more energy is better" or "a better probed head is better". They say "this start
has been finetuned already" and "this head has collapsed".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from energytune.config import Recipe
from energytune.training import ProbeSnapshot

__all__ = ["Probed", "Tolerances", "at_floor_since", "collapsed", "redundant"]


@dataclass(frozen=True)
class Tolerances:
    """When two probes count as one start.

    Attributes:
        train_acc: HP-train-accuracies that differ by no more are equal. 0.005 is the scale of
            seed noise: one training image in 200.
        aie: The same for AIE, on its scale [0, sqrt(2)].
        lr_ratio: Finetuning rates are equal if the larger is at most this times the smaller.
    """

    train_acc: float = 0.005
    aie: float = 0.005
    lr_ratio: float = 1.1


@dataclass(frozen=True)
class Probed:
    """A trial whose head probing has ended.

    Attributes:
        number: Number of the trial.
        recipe: What was probed.
        snapshots: Ascending in epoch, at least one; the last is at tau.
    """

    number: int
    recipe: Recipe
    snapshots: tuple[ProbeSnapshot, ...]

    @property
    def last(self) -> ProbeSnapshot:
        """The head with which finetuning starts."""
        return self.snapshots[-1]

    def same_kind(self, other: Probed) -> bool:
        """Returns whether both have one head architecture and one ``reinit_depth``."""
        mine, theirs = self.recipe, other.recipe
        return (mine.head_arch, mine.reinit_depth) == (theirs.head_arch, theirs.reinit_depth)


_ROUNDING = 1 + 1e-9
"""Lets a difference of exactly the tolerance count as within it, in floating point."""


def _equal(one: float, two: float, tolerance: float) -> bool:
    return abs(one - two) <= tolerance * _ROUNDING


def at_floor_since(probed: Probed, tolerances: Tolerances) -> int | None:
    """Returns the epoch since which the trajectory stands still at its floor, else None.

    HP-train-accuracy and AIE did not change over the last octave [tau / 2, tau], and AIE is at
    most eps: the reserve of smoothing, eps * sqrt((K - 1) / K), lies just below, and 0 is the
    floor without smoothing. Every larger tau then gives the same start.
    """
    last = probed.last
    earlier = [s for s in probed.snapshots if 0 < s.epoch <= last.epoch / 2]
    if not earlier:
        return None
    before = earlier[-1]
    still = _equal(last.train_acc, before.train_acc, tolerances.train_acc) and _equal(
        last.aie, before.aie, tolerances.aie
    )
    at_floor = last.aie <= probed.recipe.label_smoothing + tolerances.aie
    return before.epoch if still and at_floor else None


def redundant(
    probed: Probed, complete: Iterable[Probed], tolerances: Tolerances | None = None
) -> str | None:
    """Returns why finetuning ``probed`` would repeat one of the ``complete`` trials, or None.

    Two trials of one head architecture, one depth and (almost) one finetuning rate are the
    same if HP-train-accuracy and AIE are equal within the tolerances; or if they smooth
    alike and the one with the smaller tau stood at its floor already.
    """
    tolerances = tolerances or Tolerances()
    for other in complete:
        mine, theirs = probed.recipe, other.recipe
        ratio = max(mine.ft_lr, theirs.ft_lr) / min(mine.ft_lr, theirs.ft_lr)
        if not probed.same_kind(other) or ratio > tolerances.lr_ratio * _ROUNDING:
            continue
        numbers = (
            f"HP-train-acc {probed.last.train_acc:.3f} against {other.last.train_acc:.3f}, "
            f"AIE {probed.last.aie:.4f} against {other.last.aie:.4f}, "
            f"ft_lr {mine.ft_lr:g} against {theirs.ft_lr:g}"
        )
        if _equal(probed.last.train_acc, other.last.train_acc, tolerances.train_acc) and _equal(
            probed.last.aie, other.last.aie, tolerances.aie
        ):
            return f"redundant: starts like trial {other.number} ({numbers})"
        if mine.label_smoothing == theirs.label_smoothing:
            shorter, longer = sorted((probed, other), key=lambda p: p.recipe.tau)
            since = at_floor_since(shorter, tolerances)
            if since is not None:
                return (
                    f"redundant: the probe has stood at its floor since epoch {since}, so "
                    f"tau={shorter.recipe.tau} and tau={longer.recipe.tau} are one recipe, "
                    f"finetuned in trial {other.number} ({numbers})"
                )
    return None


def collapsed(probed: Probed, others: Sequence[Probed], n_least: int = 10) -> str | None:
    """Returns why the head of ``probed`` has collapsed, or None.

    It has if a number of it is not finite, or if both its norm and its HP-valid-loss are larger
    than those of at least 90 % of the probed trials of its kind (one head architecture, one
    depth: norms of different heads can't be compared).

    Args:
        probed: The trial to judge.
        others: All other probed trials, of any kind.
        n_least: Fewest trials of its kind to compare with.
    """
    last = probed.last
    bad = [f"{name} = {value}" for name, value in vars(last).items() if not math.isfinite(value)]
    if bad:
        return f"collapsed: non-finite after probing, {', '.join(bad)}"
    peers = [o.last for o in others if o.same_kind(probed)]
    if len(peers) < n_least:
        return None
    norm_rank = sum(p.head_norm < last.head_norm for p in peers) / len(peers)
    loss_rank = sum(p.valid_loss < last.valid_loss for p in peers) / len(peers)
    if min(norm_rank, loss_rank) < 0.9:
        return None
    return (
        f"collapsed: head norm {last.head_norm:.3g} is above {norm_rank:.0%} and HP-valid-loss "
        f"{last.valid_loss:.3g} above {loss_rank:.0%} of {len(peers)} probed trials"
    )
