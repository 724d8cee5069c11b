"""The methods that are compared, each as a :class:`~benchmarks.tabular.method.Method`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmarks.tabular.grid import FT_EPOCHS, GRID
from benchmarks.tabular.method import SPACE, Method
from benchmarks.tabular.warm import warm_energytune
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.promotion import Rungs
from energytune.optimizer.ranking import TIED_SE
from energytune.optimizer.rungs import SuccessiveHalvingPruner

if TYPE_CHECKING:
    from benchmarks.tabular.replay import Replay

__all__ = [
    "ASHA_GRID",
    "BASELINES",
    "METHODS",
    "OURS",
    "PATIENCE_EPOCHS",
    "REFERENCE",
    "RUNGS",
    "TUNED",
    "AshaSettings",
    "RayAsha",
    "asha",
    "method_of",
]

RUNGS = (8, 32)
"""Where a search of the package pauses finetunes of 100 epochs: from 8 %, times 4."""
OURS, REFERENCE = "energytune", "tpe + asha, tuned"
PATIENCE_EPOCHS = 20
"""Loses 0.02 points on the better tenth of the recipes, ``results/patience-design.csv``; 15, the
smallest that loses less than 0.1, loses 0.04."""


class RayAsha:
    """Ray's asynchronous halving itself, one bracket, as a :class:`~benchmarks.tabular.method`.

    Args:
        grace: Epochs before a trial may be stopped; Ray's default is 1.
        factor: Reduction factor; Ray's default is 4.
    """

    def __init__(self, grace: int = 1, factor: int = 4) -> None:
        # Here and not above: importing Ray takes seconds, and only this method needs it.
        from ray.tune.schedulers.async_hyperband import _Bracket

        self._bracket = _Bracket(grace, FT_EPOCHS, factor, s=0)

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        """Is told a validation accuracy; returns False to stop the trial."""
        told: Any = SimpleNamespace(trial_id=str(trial))
        return bool(self._bracket.on_result(told, epoch, value) == "CONTINUE")


@dataclass(frozen=True)
class AshaSettings:
    """What a careful user of TPE + ASHA would choose; the defaults are Ray's.

    Attributes:
        grace: Epochs before a trial may be stopped.
        factor: Reduction factor.
        multivariate: Whether TPE models all dimensions jointly.
        n_startup: Random trials before TPE.
        stopped_as: What a stopped trial is told as.
        patience_epochs: Epochs without a new best that end a trial.
    """

    grace: int = 1
    factor: int = 4
    multivariate: bool = False
    n_startup: int = 10
    stopped_as: Literal["complete", "pruned"] = "complete"
    patience_epochs: int | None = None

    @property
    def name(self) -> str:
        """Under which :func:`method_of` finds the method."""
        return "tpe + asha " + " ".join(f"{k}={v}" for k, v in vars(self).items())


ASHA_GRID = tuple(
    AshaSettings(*values)
    for values in product(
        (1, 2, 4, 8), (2, 3, 4), (False, True), (10,), ("complete", "pruned"), (None, 20)
    )
)
"""What is tried to tune TPE + ASHA."""
TUNED = AshaSettings(2, 2, multivariate=True, stopped_as="pruned", patience_epochs=20)
"""The best on the design tasks of the settings in ``benchmarks/results/tune_asha.csv``."""


def asha(settings: AshaSettings) -> Method:
    """Returns TPE with Ray's asynchronous halving."""
    return Method(
        _tpe(multivariate=settings.multivariate, n_startup_trials=settings.n_startup),
        stopper=lambda: RayAsha(settings.grace, settings.factor),
        stopped_as=settings.stopped_as,
        patience_epochs=settings.patience_epochs,
        shares_probing=False,
    )


def _tpe(**settings: Any) -> Callable[[Replay, int], BaseSampler]:
    return lambda _replay, seed: TPESampler(seed=seed, **settings)


class TellsPaused(TPESampler):
    """TPE that takes a finetune that waits at a rung for a pruned one, and learns from it."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns the whole space, before any trial has ended too."""
        return SPACE

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Samples as if all that wait had been pruned."""
        told = optuna.create_study(direction="maximize", sampler=RandomSampler())
        for other in study.get_trials(deepcopy=False):
            if other.state == TrialState.RUNNING and other.intermediate_values:
                told.add_trial(
                    optuna.trial.create_trial(
                        state=TrialState.PRUNED,
                        params=other.params,
                        distributions=other.distributions,
                        intermediate_values=other.intermediate_values,
                    )
                )
            elif other.state.is_finished():
                told.add_trial(other)
        own = told.ask()  # TPE takes notes in the study that it is given
        return super().sample_relative(told, told.trials[own.number], search_space)


def _tpe_that_tells(_replay: Replay, seed: int) -> BaseSampler:
    return TellsPaused(seed=seed, multivariate=True, constant_liar=True)


def _random(_replay: Replay, seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _gp(_replay: Replay, seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def _energy(replay: Replay, seed: int) -> BaseSampler:
    return EnergySampler(replay.known, space=SPACE, seed=seed)


def _energy_at_all_depths(replay: Replay, seed: int) -> BaseSampler:
    return EnergySampler(replay.known_at_all_depths, space=SPACE, seed=seed)


def _hedged(replay: Replay, seed: int) -> BaseSampler:
    return EnergySampler(replay.known, space=SPACE, seed=seed, hedge_every=3)


def _recipe_only(replay: Replay, seed: int) -> BaseSampler:
    return EnergySampler(replay.unmapped, space=SPACE, seed=seed)


def _peer(sampler: Callable[[Replay, int], BaseSampler], **parts: Any) -> Method:
    """Returns a search as other tools run it: each trial probes its head by itself."""
    return Method(sampler, shares_probing=False, **parts)


def _pausing() -> Rungs:
    return Rungs(RUNGS)


def _stopping() -> BasePruner:
    return SuccessiveHalvingPruner(RUNGS)


def _hyperband() -> BasePruner:
    return HyperbandPruner(min_resource=1, max_resource=FT_EPOCHS, reduction_factor=3)


def _baseline(tau_level: int) -> dict[str, Any]:
    """Returns what a search of the package begins with: the middle rate, no smoothing."""
    return {
        "tau_level": tau_level,
        "head_arch": GRID["head_arch"][0],
        "label_smoothing_level": 0,
        "reinit_depth": 0,
        "hp_lr_level": len(GRID["hp_lr"]) - 1,
        "ft_lr_level": len(GRID["ft_lr"]) // 2,
    }


BASELINES = (_baseline(0), _baseline(len(GRID["tau"]) - 1))
"""tau = 0 and tau = max, which every report of the package shows."""

_ENERGYTUNE = Method(
    _energy,
    promotion=_pausing,
    patience_epochs=PATIENCE_EPOCHS,
    maps="shallow",
    tied_se=TIED_SE,
    energy_rules=True,
    first=BASELINES,
)
"""As ``energytune search --sampler energy`` runs, but for the confirmation."""

METHODS: dict[str, Method] = {
    "random": _peer(_random),
    "tpe": _peer(_tpe()),
    "gp": _peer(_gp, max_repeats=10),
    "hyperband + tpe": _peer(_tpe(), pruner=_hyperband),
    "tpe + asha, ray's defaults": asha(AshaSettings()),
    REFERENCE: asha(TUNED),
    OURS: _ENERGYTUNE,
    "energytune + map of all depths": _ENERGYTUNE.but(
        sampler=_energy_at_all_depths, maps="all", max_repeats=10
    ),
    "energytune + hedge": _ENERGYTUNE.but(sampler=_hedged, max_repeats=10),
    "energytune + warm start": warm_energytune(_ENERGYTUNE).but(max_repeats=10),
    "energytune + warm start, same dataset": warm_energytune(_ENERGYTUNE, "same dataset"),
    "energytune + warm start, same task": warm_energytune(_ENERGYTUNE, "same task"),
    "energytune - energy features": _ENERGYTUNE.but(sampler=_recipe_only, maps="nothing"),
    "energytune - its sampler (tpe)": _ENERGYTUNE.but(sampler=_tpe_that_tells, maps="nothing"),
    "energytune - baselines first": _ENERGYTUNE.but(first=()),
    "energytune - energy rules": _ENERGYTUNE.but(energy_rules=False),
    "energytune - patience": _ENERGYTUNE.but(patience_epochs=None),
    "energytune - near ties by loss": _ENERGYTUNE.but(tied_se=0.0),
    "energytune - pausing": _ENERGYTUNE.but(
        promotion=None, pruner=_stopping, rungs=frozenset(RUNGS)
    ),
    "energytune - halving": _ENERGYTUNE.but(promotion=None),
    "energytune - shared probing": _ENERGYTUNE.but(shares_probing=False, max_repeats=10),
}
"""All methods by name; what is called ``energytune - x`` lacks x."""


def method_of(name: str) -> Method:
    """Returns a method of :data:`METHODS`, or of :data:`ASHA_GRID` by its settings' name."""
    return METHODS.get(name) or {s.name: asha(s) for s in ASHA_GRID}[name]
