"""How much each searched dimension matters for being among the best, by Optuna's PED-ANOVA.

[Watanabe2023]_ compares where the best tenth of the trials lie along a dimension with where all
of them lie; shares sum to 1. It tells of the trials that a search has chosen to run, not of the
whole space. Trials that were stopped count with what trials like them have gained from there on,
as the sampler sees them: else hardly any would be left. The bootstrap over trials shows how much
of it is chance.

References:
    .. [Watanabe2023] S. Watanabe, A. Bansal, F. Hutter. PED-ANOVA: efficiently quantifying
        hyperparameter importance in arbitrary subspaces. IJCAI 2023.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.config import SearchSpace
from energytune.optimizer.outcomes import outcomes
from energytune.optimizer.study import quiet_optuna
from energytune.optimizer.suggest import TAU, distributions, params_of
from energytune.trial import TrialRecord

__all__ = ["MIN_TRIALS", "Importances", "recipe_importances"]

MIN_TRIALS = 10
"""With fewer trials the best tenth is none."""
_MOST_TRIALS = 2000
"""Of more, so many are drawn: chance plays no part any more, and each costs a millisecond."""
_N_SAMPLES, _LEAST_SAMPLES = 50, 10
_N_DRAWN = 10_000
"""Trials in all samples together at most: half a second."""


@dataclass(frozen=True)
class Importances:
    """Importance of each searched dimension.

    Attributes:
        shares: Dimension of the recipe -> share in [0, 1], the largest first; empty where there
            is none to tell.
        intervals: The same -> (low, high), the central 90 % of the bootstrap; empty with more
            than 1,000 trials, where chance plays little part.
        n_trials: Trials that were read.
        n_stopped: Those of them that were stopped, and count with an estimate.
        reason: Why there are no shares; empty if there are.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    n_trials: int = 0
    n_stopped: int = 0
    reason: str = ""


def recipe_importances(
    records: Sequence[TrialRecord], space: SearchSpace, *, seed: int = 0
) -> Importances:
    """Returns the importance of the dimensions that a search varied.

    Args:
        records: Trials of the search; failed ones and repetitions are passed over. Of more than
            2,000, so many are drawn at random.
        space: What was searched; dimensions that it fixes have no importance.
        seed: Of drawing and bootstrap; the same records and seed give the same numbers.
    """
    names = distributions(space)
    if not names:
        return Importances(reason="every dimension of the search space is fixed")
    rng = np.random.default_rng(seed)
    read = [r for r in records if r.duplicate_of is None and r.state != "FAIL"]
    if len(read) > _MOST_TRIALS:
        read = [read[i] for i in sorted(rng.choice(len(read), _MOST_TRIALS, replace=False))]
    trials = _scored(read, space)
    n_stopped = sum(t.user_attrs["stopped"] for t in trials)
    if len(trials) < MIN_TRIALS:
        reason = f"it takes {MIN_TRIALS} trials with an accuracy, and there are {len(trials)}"
        return Importances(n_trials=len(trials), n_stopped=n_stopped, reason=reason)
    if len({trial.value for trial in trials}) == 1:
        return Importances(
            n_trials=len(trials), n_stopped=n_stopped, reason="all trials are equally good"
        )
    shares = _evaluate(trials)
    ranked = sorted(shares, key=lambda name: (-shares[name], name))
    n_samples = min(_N_SAMPLES, _N_DRAWN // len(trials))
    drawn = [
        _evaluate([trials[i] for i in rng.integers(len(trials), size=len(trials))])
        for _ in range(n_samples if n_samples >= _LEAST_SAMPLES else 0)
    ]
    return Importances(
        shares={_dimension(name): shares[name] for name in ranked},
        intervals={_dimension(name): _interval(name, drawn) for name in ranked if drawn},
        n_trials=len(trials),
        n_stopped=n_stopped,
    )


def _interval(name: str, drawn: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    low, high = np.quantile([sample.get(name, 0.0) for sample in drawn], [0.05, 0.95])
    return float(low), float(high)


def _dimension(parameter: str) -> str:
    return "tau" if parameter == TAU else parameter


def _scored(records: Sequence[TrialRecord], space: SearchSpace) -> list[FrozenTrial]:
    """Returns a complete trial a record, valued as the sampler values it."""
    names = distributions(space)
    told = []
    for record in records:
        params = params_of(record.job.recipe, space)
        if set(params) != set(names):
            continue
        told.append(
            create_trial(
                state=TrialState.COMPLETE if record.objective is not None else TrialState.PRUNED,
                value=record.objective,
                params=params,
                distributions=names,
                intermediate_values={e.epoch: e.valid_acc for e in record.epochs},
            )
        )
    found = outcomes(told, optuna.study.StudyDirection.MAXIMIZE)
    return [
        create_trial(
            state=TrialState.COMPLETE,
            value=one.value,
            params=one.trial.params,
            distributions=names,
            user_attrs={"stopped": one.trial.state == TrialState.PRUNED},
        )
        for one in found
        if one.value is not None
    ]


def _evaluate(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    # with it comes scikit-learn's ensembles: a second in which no search needs to begin later
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return get_param_importances(_Sample(trials), evaluator=PedAnovaImportanceEvaluator())


class _Sample(optuna.Study):
    """A study of given trials, which are only read; adding copies each of them deeply."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        blank = optuna.create_study(direction="maximize")
        super().__init__(blank.study_name, blank._storage)
        self._trials = [copy(trial) for trial in trials]
        for number, trial in enumerate(self._trials):  # drawn twice, it counts twice
            trial.number = trial._trial_id = number

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [t for t in self._trials if states is None or t.state in states]
