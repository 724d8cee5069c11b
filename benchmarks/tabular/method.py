"""What a replayed search is made of: its space, its parts, and what it had found by cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from benchmarks.tabular.grid import GRID, TableRecipe
from energytune.optimizer.promotion import Rungs

if TYPE_CHECKING:
    from benchmarks.tabular.replay import Replay

__all__ = [
    "SPACE",
    "End",
    "Ended",
    "Method",
    "Stopper",
    "Trace",
    "levels",
    "params_of",
    "recipe_of",
]

SPACE: dict[str, BaseDistribution] = {
    "tau_level": IntDistribution(0, len(GRID["tau"]) - 1),
    "head_arch": CategoricalDistribution(GRID["head_arch"]),
    "label_smoothing_level": IntDistribution(0, len(GRID["label_smoothing"]) - 1),
    "reinit_depth": IntDistribution(0, len(GRID["reinit_depth"]) - 1),
    "hp_lr_level": IntDistribution(0, len(GRID["hp_lr"]) - 1),
    "ft_lr_level": IntDistribution(0, len(GRID["ft_lr"]) - 1),
}
"""The grid as ordered levels: the same space for every method."""

End = Literal[
    "complete", "early", "failed", "stopped", "pruned", "paused", "redundant", "collapsed"
]
"""How a run ended: at its last epoch; at its patience; diverged; by a stopper; by a pruner; waiting
at a rung; not finetuned at all, by an energy rule."""


def recipe_of(params: Mapping[str, Any]) -> TableRecipe:
    """Returns the recipe, in canonical form, of Optuna's parameters."""
    return TableRecipe(
        tau=GRID["tau"][params["tau_level"]],
        head_arch=params["head_arch"],
        label_smoothing=GRID["label_smoothing"][params["label_smoothing_level"]],
        reinit_depth=params["reinit_depth"],
        hp_lr=GRID["hp_lr"][params["hp_lr_level"]],
        ft_lr=GRID["ft_lr"][params["ft_lr_level"]],
    ).canonical()


def params_of(recipe: TableRecipe) -> dict[str, Any]:
    """Returns Optuna's parameters of a recipe: the inverse of :func:`recipe_of`."""
    return {
        "tau_level": GRID["tau"].index(recipe.tau),
        "head_arch": recipe.head_arch,
        "label_smoothing_level": GRID["label_smoothing"].index(recipe.label_smoothing),
        "reinit_depth": recipe.reinit_depth,
        "hp_lr_level": GRID["hp_lr"].index(recipe.hp_lr),
        "ft_lr_level": GRID["ft_lr"].index(recipe.ft_lr),
    }


@cache
def _levels_of(recipe: TableRecipe) -> tuple[float, ...]:
    return tuple(SPACE[name].to_internal_repr(v) for name, v in params_of(recipe).items())


def levels(recipes: Sequence[TableRecipe]) -> NDArray[np.float64]:
    """Returns recipes as points whose coordinates are levels, (recipes, 6)."""
    return np.array([_levels_of(recipe) for recipe in recipes])


class Stopper(Protocol):
    """A rule as in Ray: it sees (trial, epoch, value) and says whether to go on."""

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        """Is told a validation accuracy; returns False to stop the trial."""
        ...


@dataclass(frozen=True)
class Method:
    """How a search is run.

    Attributes:
        sampler: Makes the sampler from the replay and a seed.
        pruner: Makes Optuna's pruner, asked at ``rungs``; what it stops is told as PRUNED.
        stopper: Makes a rule as in Ray, asked at every epoch.
        stopped_as: What a trial that ``stopper`` stopped is told as: ``"complete"`` with its last
            value, as Ray's OptunaSearch does, or ``"pruned"``, as Optuna would.
        promotion: Makes rungs at which finetunes are paused, to go on with the best; instead of a
            pruner or stopper.
        energy_rules: Whether a trial may be pruned before finetuning, by
            :class:`~energytune.EnergyPruner`.
        rungs: Epochs at which ``pruner`` is asked; empty is every epoch.
        patience_epochs: Epochs without a new best after which a finetune stops.
        first: Parameters of the first trials.
        shares_probing: Whether a head is probed once for all taus and trials.
        maps: Which heads are probed before the first finetune, for the sampler: none, those
            without a reinitialised layer in one pass, or beside them the deeper ones one by one.
        tied_se: The recipe that is returned is, of those whose accuracy is within so many standard
            errors of the highest, that of the lowest loss; 0 returns the highest.
        max_repeats: At most so many of a search's 20 repeats are worth their time.
    """

    sampler: Callable[[Replay, int], BaseSampler]
    pruner: Callable[[], BasePruner] | None = None
    stopper: Callable[[], Stopper] | None = None
    stopped_as: Literal["complete", "pruned"] = "complete"
    promotion: Callable[[], Rungs] | None = None
    energy_rules: bool = False
    rungs: frozenset[int] = frozenset()
    patience_epochs: int | None = None
    first: tuple[Mapping[str, Any], ...] = ()
    shares_probing: bool = True
    maps: Literal["nothing", "shallow", "all"] = "nothing"
    max_repeats: int | None = None
    tied_se: float = 0.0

    def but(self, **changes: Any) -> Method:
        """Returns the method with some attributes changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Ended:
    """One recipe that a search began.

    Attributes:
        place: Of the recipe in the table.
        end: How it ended.
        epoch: Finetuning epochs that were run.
        reason: Of an energy rule, with its numbers.
    """

    place: int
    end: End
    epoch: int
    reason: str = ""


@dataclass
class Trace:
    """What a search had found, by cost: one entry whenever the recipe it would return changes.

    That is the recipe of the highest validation accuracy so far, at any epoch of any finetune that
    has not diverged; where the method says so, near ties go by the loss. Finishing the finetune is
    not counted, for no method.

    Attributes:
        ft_epochs: Finetuning epochs so far.
        seconds: CPU seconds so far, probing included, the sampler's own time not.
        place: Of the recipe in the table; -1 if there is none any more.
        total_ft_epochs: Of the whole search.
        total_seconds: The same in seconds.
        ended: All recipes that were begun, in their order.
    """

    ft_epochs: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    total_ft_epochs: int = 0
    total_seconds: float = 0.0
    ended: list[Ended] = field(default_factory=list)

    def at(self, budget: float, unit: Literal["ft_epochs", "seconds"] = "ft_epochs") -> int | None:
        """Returns the place of the recipe that is returned at a budget; None if there is none."""
        after = int(np.searchsorted(getattr(self, unit), budget, side="right"))
        return self.place[after - 1] if after and self.place[after - 1] >= 0 else None
