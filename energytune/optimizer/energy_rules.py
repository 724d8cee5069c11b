"""Decisions before finetuning, from probing alone: pure functions of probed trials.

They never say "more energy is better" or "a better probed head is better". They say "this start
has been finetuned already" and "this head has collapsed". A rule that misses a number is silent.

The trials to compare with are the columns of a table: a rule is some twenty array operations,
whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energytune.errors import ConfigError
from energytune.optimizer.probed import Probed

__all__ = ["ProbedTable", "Tolerances", "at_floor_since", "collapsed", "redundant"]


@dataclass(frozen=True)
class Tolerances:
    """When two probes count as one start.

    Attributes:
        train_acc: HP-train-accuracies that differ by no more are equal, >= 0. 0.005 is the scale
            of seed noise: one training image in 200.
        aie: The same for AIE, on its scale [0, sqrt(2)], >= 0.
        lr_ratio: Finetuning rates are equal if the larger is at most this times the smaller, >= 1.

    Raises:
        ConfigError: If a value is out of its range.
    """

    train_acc: float = 0.005
    aie: float = 0.005
    lr_ratio: float = 1.1

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name, low in (("train_acc", 0), ("aie", 0), ("lr_ratio", 1)):
            value = getattr(self, name)
            if not low <= value < math.inf:
                raise ConfigError(
                    f"Tolerance {name!r} must be finite and at least {low}. Got {value!r}. "
                    f"{low} is the strictest."
                )


_NUMBERS = (
    *("tau", "label_smoothing", "ft_lr"),
    *("train_acc", "aie", "head_norm", "valid_loss"),
    *("earlier_epoch", "earlier_train_acc", "earlier_aie"),
)
_ROW = np.dtype(
    [
        ("number", np.int64),
        ("kind", np.object_),
        ("complete", np.bool_),
        *((name, np.float64) for name in _NUMBERS),
    ]
)
_NONE: dict[str, float] = {}


def _row(probed: Probed, complete: bool) -> tuple[Any, ...]:
    last, earlier = probed.last, probed.earlier or _NONE
    return (
        probed.number,
        probed.kind,
        complete,
        _or_nan(probed.tau),
        _or_nan(probed.label_smoothing),
        _or_nan(probed.ft_lr),
        _or_nan(last.get("train_acc")),
        _or_nan(last.get("aie")),
        _badness(last.get("head_norm")),
        _badness(last.get("valid_loss")),
        _or_nan(earlier.get("epoch")),
        _or_nan(earlier.get("train_acc")),
        _or_nan(earlier.get("aie")),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _badness(value: float | None) -> float:
    """Returns a number that is not finite as infinity, the worst; a missing one stays NaN."""
    if value is None:
        return math.nan
    return value if math.isfinite(value) else math.inf


class ProbedTable:
    """Probed trials as columns; immutable.

    Attributes:
        rows: Structured array, (n_trials,): number, kind, whether complete, and the numbers that
            the rules read, NaN where missing. In no particular order.
    """

    def __init__(self, trials: Iterable[tuple[Probed, bool]] = ()) -> None:
        """Makes a table of trials, each with whether its finetuning is complete."""
        self.rows: NDArray[Any] = np.array([_row(*trial) for trial in trials], dtype=_ROW)

    def __len__(self) -> int:
        """Returns the number of trials."""
        return len(self.rows)

    def plus(self, trials: Iterable[tuple[Probed, bool]]) -> ProbedTable:
        """Returns a table with ``trials`` added, this one if there are none."""
        more = ProbedTable(trials)
        if not len(more):
            return self
        more.rows = np.concatenate([self.rows, more.rows])
        return more

    def without(self, numbers: Collection[int]) -> ProbedTable:
        """Returns a table of the other trials than those of these numbers."""
        fewer = ProbedTable()
        fewer.rows = self.rows[~np.isin(self.rows["number"], list(numbers))]
        return fewer

    def others(self, probed: Probed) -> NDArray[Any]:
        """Returns the rows of all other trials of the kind of ``probed``."""
        rows = self.rows
        others: NDArray[Any] = rows[
            (rows["kind"] == probed.kind) & (rows["number"] != probed.number)
        ]
        return others


_ROUNDING = 1 + 1e-9
"""Lets a difference of exactly the tolerance count as within it, in floating point."""


def _near(one: NDArray[Any], two: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(one - two) <= tolerance * _ROUNDING
    return near


def _floor_since(rows: NDArray[Any], tolerances: Tolerances) -> NDArray[np.float64]:
    """Returns for each row what :func:`at_floor_since` says, NaN for None."""
    still = _near(rows["train_acc"], rows["earlier_train_acc"], tolerances.train_acc)
    still &= _near(rows["aie"], rows["earlier_aie"], tolerances.aie)
    # Without a known smoothing the floor is 0: the rule then says too little, never too much.
    at_floor = rows["aie"] <= np.nan_to_num(rows["label_smoothing"]) + tolerances.aie
    since: NDArray[np.float64] = np.where(still & at_floor, rows["earlier_epoch"], np.nan)
    return since


def at_floor_since(probed: Probed, tolerances: Tolerances) -> int | None:
    """Returns the epoch since which the trajectory stands still at its floor, else None.

    HP-train-accuracy and AIE did not change over the last octave [tau / 2, tau], and AIE is at
    most eps: the reserve of smoothing, eps * sqrt((K - 1) / K), lies just below, and 0 is the
    floor without smoothing. Every larger tau then gives the same start.
    """
    with np.errstate(invalid="ignore"):
        since = _floor_since(ProbedTable([(probed, False)]).rows, tolerances)[0]
    return None if math.isnan(since) else int(since)


def redundant(
    probed: Probed, table: ProbedTable, tolerances: Tolerances | None = None
) -> str | None:
    """Returns why finetuning ``probed`` would repeat a complete trial of ``table``, or None.

    Two trials of one kind and (almost) one finetuning rate are the same if HP-train-accuracy and
    AIE are equal within the tolerances; or if they smooth alike and the one with the smaller tau
    stood at its floor already. Of several such trials the reason names that of lowest number.
    """
    tolerances = tolerances or Tolerances()
    rows = table.others(probed)
    rows = rows[rows["complete"]]
    mine = ProbedTable([(probed, False)]).rows[0]
    with np.errstate(invalid="ignore"):  # NaN is a number that is missing: nothing is near it
        rows = rows[_one_rate(mine, rows, tolerances)]
        one_start = _near(rows["train_acc"], mine["train_acc"], tolerances.train_acc)
        one_start &= _near(rows["aie"], mine["aie"], tolerances.aie)
        since = _shared_floor_since(mine, rows, tolerances)
    found = np.flatnonzero(one_start | ~np.isnan(since))
    if not found.size:
        return None
    first = found[np.argmin(rows["number"][found])]
    return _repeats(mine, rows[first], None if one_start[first] else since[first])


def _one_rate(mine: Any, rows: NDArray[Any], tolerances: Tolerances) -> NDArray[np.bool_]:
    one, two = mine["ft_lr"], rows["ft_lr"]
    ratio = np.maximum(one, two) / np.minimum(one, two)
    no_rates = np.isnan(one) & np.isnan(two)
    equal: NDArray[np.bool_] = no_rates | (ratio <= tolerances.lr_ratio * _ROUNDING)
    return equal


def _shared_floor_since(
    mine: Any, rows: NDArray[Any], tolerances: Tolerances
) -> NDArray[np.float64]:
    """Returns since when the shorter probe of each pair stood at its floor, NaN if it did not."""
    my_since = _floor_since(np.atleast_1d(mine), tolerances)
    since = np.where(mine["tau"] <= rows["tau"], my_since, _floor_since(rows, tolerances))
    eps = "label_smoothing"
    smooth_alike = (rows[eps] == mine[eps]) | (np.isnan(rows[eps]) & np.isnan(mine[eps]))
    known = ~np.isnan(rows["tau"] + mine["tau"] + rows["aie"] + rows["train_acc"])
    known &= ~np.isnan(mine["aie"] + mine["train_acc"])
    return np.where(smooth_alike & known, since, np.nan)


def _repeats(mine: Any, theirs: Any, since: float | None) -> str:
    numbers = (
        f"HP-train-acc {mine['train_acc']:.3f} against {theirs['train_acc']:.3f}, "
        f"AIE {mine['aie']:.4f} against {theirs['aie']:.4f}"
    )
    if not math.isnan(mine["ft_lr"]):
        numbers += f", ft_lr {mine['ft_lr']:g} against {theirs['ft_lr']:g}"
    if since is None:
        return f"redundant: starts like trial {theirs['number']} ({numbers})"
    shorter, longer = sorted((int(mine["tau"]), int(theirs["tau"])))
    return (
        f"redundant: the probe has stood at its floor since epoch {since:.0f}, so "
        f"tau={shorter} and tau={longer} are one recipe, "
        f"finetuned in trial {theirs['number']} ({numbers})"
    )


def collapsed(probed: Probed, table: ProbedTable, n_least: int = 10) -> str | None:
    """Returns why the head of ``probed`` has collapsed, or None.

    It has if a number of it is not finite, or if both its norm and its HP-valid-loss are larger
    than those of at least 90 % of the probed trials of its kind (norms of different heads can't
    be compared).

    Args:
        probed: The trial to judge.
        table: Probed trials of any kind and state, finished or not.
        n_least: Fewest other trials of its kind to compare with, >= 1.
    """
    last = probed.last
    bad = [f"{name} = {value}" for name, value in last.items() if not math.isfinite(value)]
    if bad:
        return f"collapsed: non-finite after probing, {', '.join(bad)}"
    norm, loss = last.get("head_norm"), last.get("valid_loss")
    if norm is None or loss is None:
        return None
    peers = table.others(probed)
    peers = peers[~np.isnan(peers["head_norm"]) & ~np.isnan(peers["valid_loss"])]
    if len(peers) < n_least:
        return None
    norm_rank = np.count_nonzero(peers["head_norm"] < norm) / len(peers)
    loss_rank = np.count_nonzero(peers["valid_loss"] < loss) / len(peers)
    if min(norm_rank, loss_rank) < 0.9:
        return None
    return (
        f"collapsed: head norm {norm:.3g} is above {norm_rank:.0%} and HP-valid-loss "
        f"{loss:.3g} above {loss_rank:.0%} of {len(peers)} probed trials"
    )
