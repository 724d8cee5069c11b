"""The pruner: which finetunes are not run, and which are stopped early.

It decides by the study and nothing else, so it works under ``study.optimize``, under any executor
at any concurrency, and after a search was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from energytune.errors import ConfigError, unknown_name
from energytune.optimizer.energy_rules import ProbedTable, Tolerances, collapsed, redundant
from energytune.optimizer.probed import Probed, probed_of
from energytune.optimizer.read_trials import ReadTrials
from energytune.optimizer.rungs import (
    SuccessiveHalvingPruner,
    compared,
    median_pruner,
    no_pruner,
    reported_epochs,
    successive_halving,
)

__all__ = ["PRUNERS", "EnergyPruner", "Gate", "ask_pruner", "make_pruner", "prune_reason"]

PRUNE_REASON = "energytune:prune_reason"
"""System attribute of a trial: why :class:`EnergyPruner` stopped it."""


class Gate(Protocol):
    """A further opinion on which finetunes are not worth running."""

    def reason(self, study: Study, trial: FrozenTrial, probed: Probed) -> str | None:
        """Returns why not to finetune ``trial``, with the numbers, or None to go on."""
        ...


class EnergyPruner(BasePruner):
    """Energy rules before finetuning, then successive halving on finetuning epochs.

    In your own objective, with the parameters named as in a recipe (``tau`` or ``tau_plus_1``,
    ``head_arch``, ``label_smoothing``, ``reinit_depth``, ``ft_lr``; any may be missing, others
    may be added)::

        trial.set_user_attr("hp", {"train_acc": ..., "aie": ..., "head_norm": ...,
                                   "valid_loss": ...})  # when head probing has ended
        if trial.should_prune():  # once, before anything is reported
            raise TrialPruned
        for epoch in range(1, n_ft_epochs + 1):
            trial.report(valid_acc, epoch)
            if trial.should_prune():
                raise TrialPruned

    At the first question a trial is pruned if another one has finished from the same start, or if
    its head has collapsed (:mod:`energytune.optimizer.energy_rules`); trials that differ in a
    parameter of your own are never the same. A rule whose numbers are missing is silent. With
    the user attribute ``snapshots``, a list of such dicts each with its ``epoch``, a probe that
    stands still is recognised too. After each reported finetuning epoch the inner pruner decides.
    Head-probing numbers are never compared with finetuning numbers, and neither AIE nor
    HP-train-accuracy is ever better high or low. Baselines (user attribute ``role``, beginning
    with ``baseline``) are never pruned, but take part in every comparison.

    The reason of each prune is stored with the trial: :func:`prune_reason`. What was read of
    other trials is kept in this object to be quick; another object decides alike.

    Args:
        n_ft_epochs: Finetuning epochs of a whole trial, >= 1.
        inner: Decides during finetuning. None is successive halving with a grace of 8 % of the
            epochs and reduction factor 4.
        tolerances: When two starts are equal: in accuracy, in AIE, and as a ratio of rates.
        n_collapse_trials: Fewest trials to call a head collapsed by comparison, >= 1.
        gate: Asked before finetuning about the trials that the rules let pass.

    Raises:
        ConfigError: If ``n_ft_epochs`` or ``n_collapse_trials`` is below 1. When asked: if what
            the trial stores has a wrong type or value.
    """

    def __init__(
        self,
        n_ft_epochs: int,
        inner: BasePruner | None = None,
        *,
        tolerances: Tolerances | None = None,
        n_collapse_trials: int = 10,
        gate: Gate | None = None,
    ) -> None:
        halving = successive_halving(n_ft_epochs)  # it checks the number of epochs
        if n_collapse_trials < 1:
            raise ConfigError(
                f"n_collapse_trials must be at least 1. Got {n_collapse_trials}. "
                "Give a large number to compare never."
            )
        self.n_ft_epochs = n_ft_epochs
        self.inner = halving if inner is None else inner
        self.tolerances = tolerances or Tolerances()
        self.n_collapse_trials = n_collapse_trials
        self.gate = gate
        self._probed = ReadTrials(ProbedTable(), _with_probed, ProbedTable.without)

    def rung_epochs(self, n_epochs: int) -> frozenset[int]:
        """Returns the epochs at which the inner pruner looks; all if it does not say."""
        return reported_epochs(self.inner, n_epochs)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether to stop ``trial`` now."""
        return self.explain(study, trial) is not None

    def explain(self, study: Study, trial: FrozenTrial) -> str | None:
        """Returns why to stop ``trial`` now, with the numbers, or None to go on.

        The reason is stored in the study. A foreign inner pruner may take notes there too
        (Optuna's successive halving does), so ask once per report.
        """
        before = trial.last_step is None
        reason = None if before else ask_pruner(self.inner, study, trial)
        if str(trial.user_attrs.get("role", "")).startswith("baseline"):
            return None
        if before:
            reason = self._before_finetuning(study, trial)
        if reason is not None and not trial.state.is_finished():
            # As Optuna's own pruners store theirs: a pruner is given no public way.
            study._storage.set_trial_system_attr(trial._trial_id, PRUNE_REASON, reason)
        return reason

    def _before_finetuning(self, study: Study, trial: FrozenTrial) -> str | None:
        probed = probed_of(trial)
        if probed is None:
            return None
        table = self._probed.read(study)
        reason = collapsed(probed, table, self.n_collapse_trials) or redundant(
            probed, table, self.tolerances
        )
        if reason is None and self.gate is not None:
            reason = self.gate.reason(study, trial, probed)
        return reason


def _with_probed(study: Study, table: ProbedTable, trials: Iterable[FrozenTrial]) -> ProbedTable:
    return table.plus(_probed_among(trials))


def _probed_among(trials: Iterable[FrozenTrial]) -> Iterator[tuple[Probed, bool]]:
    for trial in trials:
        try:
            probed = probed_of(trial)
        except ConfigError:  # told when that trial itself was asked about
            continue
        if probed is not None:
            yield probed, trial.state == TrialState.COMPLETE


def prune_reason(trial: FrozenTrial) -> str | None:
    """Returns why :class:`EnergyPruner` stopped a trial, with the numbers.

    Args:
        trial: Of ``study.trials``.

    Returns:
        None if it did not, and if ``trial`` went on all the same and was completed or failed.
    """
    if trial.state not in (TrialState.PRUNED, TrialState.RUNNING):
        return None
    reason: str | None = trial.system_attrs.get(PRUNE_REASON)
    return reason


def ask_pruner(pruner: BasePruner, study: Study, trial: FrozenTrial) -> str | None:
    """Asks any pruner; returns its reason with the numbers it saw, or None to go on."""
    if isinstance(pruner, EnergyPruner | SuccessiveHalvingPruner):
        return pruner.explain(study, trial)
    if not pruner.prune(study, trial):
        return None
    name = type(getattr(pruner, "inner", pruner)).__name__
    epoch = trial.last_step
    if epoch is None:
        return f"{name}: after head probing"
    values = np.array(
        [
            other.intermediate_values.get(epoch, math.nan)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
        ]
    )
    return compared(name, study, trial, values[~np.isnan(values)])[0]


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "energy": EnergyPruner,
    "median": median_pruner,
    "none": no_pruner,
}
"""All pruners: name -> maker from the number of finetuning epochs."""


def make_pruner(name: str, n_ft_epochs: int) -> BasePruner:
    """Returns a pruner.

    Args:
        name: ``"energy"``, ``"median"`` or ``"none"``.
        n_ft_epochs: Finetuning epochs of a whole trial, >= 1.

    Raises:
        UnknownNameError: If there is no pruner of that name.
    """
    if name not in PRUNERS:
        raise unknown_name("pruner", name, PRUNERS)
    return PRUNERS[name](n_ft_epochs)
