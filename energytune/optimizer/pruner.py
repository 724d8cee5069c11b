"""The pruner: which finetunes are not run, and which are stopped early.

It reads the study and nothing else, so it works under ``study.optimize``, under any executor at
any concurrency, and after a search was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from energytune.config import Recipe
from energytune.errors import unknown_name
from energytune.optimizer.energy_rules import Probed, Tolerances, collapsed, redundant
from energytune.optimizer.rungs import (
    median_pruner,
    no_pruner,
    reported_epochs,
    successive_halving,
)
from energytune.training import ProbeSnapshot

__all__ = ["PRUNERS", "EnergyPruner", "ask_pruner", "make_pruner"]


class EnergyPruner(BasePruner):
    """Energy rules before finetuning, then successive halving on finetuning epochs.

    Ask it once after head probing, when the user attributes ``recipe`` and ``snapshots`` (or
    ``hp`` alone, the last snapshot) are set and nothing is reported yet: a trial is pruned if
    another one has finished from the same start, or if its head has collapsed
    (:mod:`energytune.optimizer.energy_rules`). Then once after each reported finetuning epoch:
    the inner pruner decides. Head-probing numbers are never compared with finetuning numbers,
    and neither AIE nor HP-train-accuracy is ever better high or low. Baselines (user attribute
    ``role``) are never pruned, but take part in every comparison.

    Args:
        n_ft_epochs: Finetuning epochs of a whole trial, >= 1.
        inner: Decides during finetuning. None is Optuna's successive halving with a grace of
            8 % of the epochs and reduction factor 3.
        tolerances: When two starts are equal.
        n_collapse_trials: Fewest trials to call a head collapsed by comparison.

    Raises:
        ConfigError: If ``n_ft_epochs`` is below 1.
    """

    def __init__(
        self,
        n_ft_epochs: int,
        inner: BasePruner | None = None,
        *,
        tolerances: Tolerances | None = None,
        n_collapse_trials: int = 10,
    ) -> None:
        self.n_ft_epochs = n_ft_epochs
        self.inner = successive_halving(n_ft_epochs) if inner is None else inner
        self.tolerances = tolerances or Tolerances()
        self.n_collapse_trials = n_collapse_trials

    def rung_epochs(self, n_epochs: int) -> frozenset[int]:
        """Returns the epochs at which the inner pruner looks; all if it does not say."""
        return reported_epochs(self.inner, n_epochs)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether to stop ``trial`` now."""
        return self.explain(study, trial) is not None

    def explain(self, study: Study, trial: FrozenTrial) -> str | None:
        """Returns why to stop ``trial`` now, with the numbers, or None to go on.

        It keeps nothing in this object. The inner pruner may take notes in the study (successive
        halving stores which rungs a trial has passed), so ask once per report.
        """
        if trial.last_step is None:
            reason = self._before_finetuning(study, trial)
        else:
            reason = ask_pruner(self.inner, study, trial)
        is_baseline = str(trial.user_attrs.get("role", "")).startswith("baseline")
        return None if is_baseline else reason

    def _before_finetuning(self, study: Study, trial: FrozenTrial) -> str | None:
        probed = _probed(trial)
        if probed is None:
            return None
        others: list[Probed] = []
        complete: list[Probed] = []
        for other in study.get_trials(deepcopy=False):
            theirs = _probed(other) if other.number != trial.number else None
            if theirs is not None:
                others.append(theirs)
                if other.state == TrialState.COMPLETE:
                    complete.append(theirs)
        return collapsed(probed, others, self.n_collapse_trials) or redundant(
            probed, complete, self.tolerances
        )


def _probed(trial: FrozenTrial) -> Probed | None:
    attrs = trial.user_attrs
    snapshots = attrs.get("snapshots") or ([attrs["hp"]] if attrs.get("hp") else [])
    if not snapshots or "recipe" not in attrs:
        return None
    return Probed(
        number=trial.number,
        recipe=Recipe(**attrs["recipe"]),
        snapshots=tuple(ProbeSnapshot(**snapshot) for snapshot in snapshots),
    )


def ask_pruner(pruner: BasePruner, study: Study, trial: FrozenTrial) -> str | None:
    """Asks any pruner; returns its reason with the numbers it saw, or None to go on."""
    if isinstance(pruner, EnergyPruner):
        return pruner.explain(study, trial)
    if not pruner.prune(study, trial):
        return None
    name = type(getattr(pruner, "inner", pruner)).__name__
    epoch = trial.last_step
    if epoch is None:
        return f"{name}: after head probing"
    others = sorted(
        (
            other.intermediate_values[epoch]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and epoch in other.intermediate_values
        ),
        reverse=True,
    )
    value = trial.intermediate_values[epoch]
    reason = f"{name}: FT-valid-acc {value:.4f} at epoch {epoch}"
    if not others:
        return reason
    better = sum(other > value for other in others)
    return f"{reason}, {better} of {len(others)} other trials better, best {others[0]:.4f}"


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
