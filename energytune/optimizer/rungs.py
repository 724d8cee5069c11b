"""At which finetuning epochs a pruner looks.

A report to the study's storage is a write, and each look reads the whole study. So a pruner may
declare with ``rung_epochs(n_epochs)`` at which epochs it looks; for one that does not, every
epoch is reported. Measured with the journal file, 30 trials of 200 epochs, CPU time of the whole
search loop with empty jobs: 8 ms a trial with 4 reports (16-18 writes), 57 ms with every epoch
(200, 212). Successive halving has fewer. The full curve is stored once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from energytune.errors import ConfigError
from energytune.optimizer.read_trials import ReadTrials

__all__ = [
    "AtRungs",
    "HasRungs",
    "SuccessiveHalvingPruner",
    "compared",
    "grace_epochs",
    "median_pruner",
    "no_pruner",
    "reported_epochs",
    "successive_halving",
]

GRACE = 0.08
REDUCTION_FACTOR = 4

_Rows = NDArray[np.float64]


@runtime_checkable
class HasRungs(Protocol):
    """A pruner that declares the epochs at which it looks."""

    def rung_epochs(self, n_epochs: int) -> frozenset[int]:
        """Returns the epochs, from 1, at which a trial of ``n_epochs`` may be stopped."""
        ...


def grace_epochs(n_epochs: int) -> int:
    """Returns the first epoch at which finetunes are compared: 8 %, rounded up, at least 1.

    Earlier, heads of low energy lead that are overtaken later.
    """
    return max(1, math.ceil(round(GRACE * n_epochs, 9)))


def reported_epochs(pruner: BasePruner, n_epochs: int) -> frozenset[int]:
    """Returns the epochs to report to the study and to ask ``pruner`` at, without the last.

    After the last epoch there is nothing left to save.
    """
    if isinstance(pruner, HasRungs):
        epochs = pruner.rung_epochs(n_epochs)
    else:
        epochs = frozenset(range(1, n_epochs))
    return frozenset(epoch for epoch in epochs if 1 <= epoch < n_epochs)


class AtRungs(BasePruner):
    """Any pruner, with the epochs at which it looks.

    Args:
        inner: The pruner that decides.
        epochs: Finetuning epochs, each >= 1, at which ``inner`` has to be asked.
    """

    def __init__(self, inner: BasePruner, epochs: frozenset[int]) -> None:
        self.inner = inner
        self.epochs = epochs

    def rung_epochs(self, n_epochs: int) -> frozenset[int]:
        """Returns the epochs that are not beyond ``n_epochs``."""
        return frozenset(epoch for epoch in self.epochs if epoch <= n_epochs)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Asks the inner pruner."""
        return self.inner.prune(study, trial)


def compared(
    name: str, study: Study, trial: FrozenTrial, others: NDArray[np.float64]
) -> tuple[str, int]:
    """Returns what a pruner saw at the last report, in words, and how many others are better.

    Args:
        name: Of the pruner.
        study: Says which direction is better.
        trial: With at least one reported value.
        others: Values of other trials to compare with, (n_trials,), none of them NaN.
    """
    epoch = max(trial.intermediate_values)
    value = trial.intermediate_values[epoch]
    rising = study.direction != StudyDirection.MINIMIZE
    what = "FT-valid-acc" if rising else "reported value"
    told = f"{name}: {what} {value:.4f} at epoch {epoch}"
    if not others.size:
        return told, 0
    better = int(np.count_nonzero(others > value if rising else others < value))
    best = others.max() if rising else others.min()
    return f"{told}, {better} of {len(others)} other trials better, best {best:.4f}", better


class SuccessiveHalvingPruner(BasePruner):
    """Asynchronous successive halving [Li2020]_ on finetuning epochs; reads, writes nothing.

    At a rung, a trial goes on if it is among the best of every ``reduction_factor`` that have
    come as far, the first few if they are the best so far. Its value there is what it reports at
    the rung's epoch, or else at its first report after it. The decisions are those of Optuna's
    pruner of the same name, which stores each value once more, except here:

    - A complete trial that ended before the rung (it stopped by itself, being done) stays in the
      comparison with its best reported value. Others take part in rungs that they reached.
    - A report that reaches several rungs at once counts at all of them, even if it is stopped.
    - There is no rung beyond the given ones.
    - A repeat that was not run (user attribute ``duplicate_of``) is not counted.
    - Asked twice at one epoch, it says the same twice.

    Ask after each report: a rung is decided at the report that reaches it, and never again.

    Args:
        epochs: The rungs, each >= 1.
        reduction_factor: One of so many goes on, >= 2.

    Raises:
        ConfigError: If an argument is out of its range.

    References:
        .. [Li2020] L. Li et al. A System for Massively Parallel Hyperparameter Tuning. MLSys 2020.
    """

    def __init__(self, epochs: Collection[int], reduction_factor: int = REDUCTION_FACTOR) -> None:
        if any(epoch < 1 for epoch in epochs):
            raise ConfigError(
                f"epochs must all be at least 1. Got {sorted(epochs)}. Epochs are counted from 1."
            )
        if reduction_factor < 2:
            raise ConfigError(
                f"reduction_factor must be at least 2. Got {reduction_factor}. "
                "Use no_pruner to let all trials go on."
            )
        self.epochs = frozenset(epochs)
        self.reduction_factor = reduction_factor
        self._rungs = sorted(self.epochs)
        self._values = ReadTrials(
            np.empty((0, 1 + len(self._rungs))), partial(_with_values, self._rungs), _without
        )

    def rung_epochs(self, n_epochs: int) -> frozenset[int]:
        """Returns the rungs that are not beyond ``n_epochs``."""
        return frozenset(epoch for epoch in self.epochs if epoch <= n_epochs)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether to stop ``trial`` at its last report."""
        return self.explain(study, trial) is not None

    def explain(self, study: Study, trial: FrozenTrial) -> str | None:
        """Returns why to stop ``trial`` at its last report, with the numbers, or None to go on."""
        rungs = self._new_rungs(trial)
        if not rungs:
            return None
        name = type(self).__name__
        if math.isnan(trial.intermediate_values[max(trial.intermediate_values)]):
            return compared(name, study, trial, np.empty(0))[0]
        rows = self._values.read(study)
        rows = rows[rows[:, 0] != trial.number]
        for rung in rungs:
            others = rows[:, 1 + self._rungs.index(rung)]
            others = others[~np.isnan(others)]
            reason, n_better = compared(name, study, trial, others)
            if n_better >= max(1, (len(others) + 1) // self.reduction_factor):
                return reason
        return None

    def _new_rungs(self, trial: FrozenTrial) -> list[int]:
        """Returns the rungs, ascending, that no report before the last one has reached."""
        values = trial.intermediate_values
        last = max(values, default=0)
        # A report of NaN reaches no rung, so that the next one is asked about it again.
        passed = max((e for e, v in values.items() if e < last and not math.isnan(v)), default=0)
        return [rung for rung in self._rungs if passed < rung <= last]


def _with_values(
    rungs: Sequence[int], study: Study, rows: _Rows, trials: Iterable[FrozenTrial]
) -> _Rows:
    """Returns ``rows`` and those of ``trials``: number, then the value at each rung or NaN."""
    best = min if study.direction == StudyDirection.MINIMIZE else max
    more = [
        (trial.number, *(_value_at(trial, rung, best) for rung in rungs))
        for trial in trials
        if "duplicate_of" not in trial.user_attrs
    ]
    return np.concatenate([rows, np.array(more)]) if more else rows


def _without(rows: _Rows, numbers: Collection[int]) -> _Rows:
    """Returns the rows of other trials than these."""
    left: _Rows = rows[~np.isin(rows[:, 0], list(numbers))]
    return left


def _value_at(trial: FrozenTrial, rung: int, best: Callable[..., float]) -> float:
    """Returns what a trial has to show at a rung; NaN if it takes no part there."""
    values = {e: v for e, v in trial.intermediate_values.items() if not math.isnan(v)}
    reached = min((epoch for epoch in values if epoch >= rung), default=None)
    if reached is not None:
        return values[reached]
    if trial.state != TrialState.COMPLETE:
        return math.nan
    return best(values.values(), default=math.nan)


def successive_halving(n_epochs: int) -> SuccessiveHalvingPruner:
    """Returns successive halving with rungs at grace, 4 grace, 16 grace, ... epochs.

    There is no rung at the last epoch, where nothing is left to save.

    Args:
        n_epochs: Finetuning epochs of a trial, >= 1.

    Raises:
        ConfigError: If ``n_epochs`` is below 1.
    """
    if n_epochs < 1:
        raise ConfigError(
            f"n_ft_epochs must be at least 1. Got {n_epochs}. Give the epochs of a whole finetune."
        )
    rungs = []
    epoch = grace_epochs(n_epochs)
    while epoch < n_epochs:
        rungs.append(epoch)
        epoch *= REDUCTION_FACTOR
    return SuccessiveHalvingPruner(rungs)


def median_pruner(n_epochs: int) -> AtRungs:
    """Returns Optuna's median rule, which looks at every multiple of the grace."""
    grace = grace_epochs(n_epochs)
    return AtRungs(
        MedianPruner(n_startup_trials=5, n_warmup_steps=grace, interval_steps=grace),
        frozenset(range(grace, n_epochs + 1, grace)),
    )


def no_pruner(n_epochs: int) -> AtRungs:
    """Returns a pruner that never looks."""
    return AtRungs(NopPruner(), frozenset())
