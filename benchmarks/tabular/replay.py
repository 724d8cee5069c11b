"""Replays a search on a table: the samplers, pruners and rules are the real ones.

One trial at a time. Where people search, a rate is a real number and no suggestion is made twice;
so a suggestion that was begun before moves to the nearest recipe that was not, whoever makes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.trial import Trial, TrialState

from benchmarks.tabular.grid import FT_EPOCHS, GRID, Head, TableRecipe
from benchmarks.tabular.method import (
    SPACE,
    End,
    Ended,
    Method,
    Stopper,
    Trace,
    levels,
    params_of,
    recipe_of,
)
from benchmarks.tabular.table import Table
from energytune.optimizer.energy_features import Known, energy_features
from energytune.optimizer.pruner import EnergyPruner
from energytune.optimizer.rungs import no_pruner
from energytune.training import ProbeSnapshot
from energytune.training.early_stop import has_stopped, rank

__all__ = ["SPACE", "Method", "Replay", "Stopper", "Trace", "recipe_of"]


class Replay:
    """Searches on one table with one seed of the trials.

    Args:
        table: The task.
        seed: Which of the table's seeds the trials have.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        own = [probe for (s, _, _), probe in table.proxies.items() if s == seed]
        self._aie_max = max((probe["aie"] for probe in own), default=0.0)
        self._pull_max = max((probe["pull_norm"] for probe in own), default=0.0)
        self._known: dict[TableRecipe, Known] = {}

    def known(self, params: Mapping[str, Any]) -> Known:
        """Returns what the energy map tells of Optuna's parameters."""
        recipe = recipe_of(params)
        if recipe not in self._known:
            self._known[recipe] = self._look_up(recipe)
        return self._known[recipe]

    def unmapped(self, params: Mapping[str, Any]) -> Known:
        """Returns which recipe Optuna's parameters are, and nothing of its energy."""
        return Known(recipe_of(params))

    def _look_up(self, recipe: TableRecipe) -> Known:
        snapshot = self.snapshot(recipe)
        if snapshot is None:
            return Known(recipe)
        maxima = {"aie_max": self._aie_max, "pull_max": self._pull_max}
        return Known(recipe, energy_features(snapshot, recipe.ft_lr, **maxima))

    def snapshot(self, recipe: TableRecipe) -> ProbeSnapshot | None:
        """Returns the recipe's probe at tau; None if it diverged before."""
        found = self.table.proxies.get((self.seed, recipe.head, recipe.tau))
        return None if found is None else ProbeSnapshot(**{**found, "epoch": int(found["epoch"])})  # type: ignore[arg-type]

    def snapshots(self, recipe: TableRecipe) -> list[dict[str, float]]:
        """Returns the recipe's probe up to tau, ascending in epoch; shorter if it diverged."""
        epochs = self.table.probe_epochs.get((self.seed, recipe.head), ())
        return [self.table.proxies[self.seed, recipe.head, e] for e in epochs if e <= recipe.tau]

    def search(
        self, method: Method, budget: int, sampler_seed: int, *, seconds: float = 0.0
    ) -> Trace:
        """Runs a search until both budgets are spent, or all recipes are run.

        Args:
            method: How.
            budget: Finetuning epochs.
            sampler_seed: Of the sampler.
            seconds: CPU seconds of probing and finetuning.
        """
        return _Search(self, method, sampler_seed).run(budget, seconds)


@dataclass
class _Run:
    """A recipe that was begun.

    Attributes:
        trial: Of the study.
        place: Of the recipe in the table.
        epoch: Finetuning epochs so far.
        best: Validation accuracy and minus loss of the best epoch so far.
        end: How it ended, or that it waits.
        told: Value with which it was told complete; None if it was not.
    """

    trial: Trial
    recipe: TableRecipe
    place: int
    epoch: int = 0
    best: tuple[float, float] = (-1.0, -math.inf)
    best_epoch: int = 0
    end: End = "paused"
    reason: str = ""
    told: float | None = None


class _Search:
    def __init__(self, replay: Replay, method: Method, sampler_seed: int) -> None:
        self.replay, self.table, self.method = replay, replay.table, method
        self.study = optuna.create_study(
            direction="maximize",
            sampler=method.sampler(replay, sampler_seed),
            pruner=(method.pruner or NopPruner)(),
        )
        for params in method.first:
            self.study.enqueue_trial(dict(params))
        self.stopper = method.stopper() if method.stopper else None
        self.promotion = method.promotion() if method.promotion else None
        self.rules = EnergyPruner(FT_EPOCHS, no_pruner(FT_EPOCHS)) if method.energy_rules else None
        self.begun: dict[TableRecipe, _Run] = {}
        self.rng = np.random.default_rng(sampler_seed)
        self.trace = Trace()
        self.ft_epochs, self.seconds = 0, 0.0
        self.best: tuple[float, int] = (-math.inf, -1)
        self.probed: dict[Head, int] = {}
        if method.maps_energy:
            self._map()

    def run(self, budget: int, seconds: float) -> Trace:
        while self.ft_epochs < budget or self.seconds < seconds:
            number = self.promotion.next() if self.promotion else None
            if number is not None:
                self._advance(next(r for r in self.begun.values() if r.trial.number == number))
            elif len(self.begun) < len(self.table.recipes):
                self._begin_next()
            else:
                break
        trace = self.trace
        trace.total_ft_epochs, trace.total_seconds = self.ft_epochs, self.seconds
        trace.ended = [Ended(r.place, r.end, r.epoch, r.reason) for r in self.begun.values()]
        return trace

    def _map(self) -> None:
        """Books the energy map: each head once if they are shared, else each head and tau."""
        for head, epoch_s in self.table.hp_epoch_s.items():
            taus = GRID["tau"]
            self.seconds += (max(taus) if self.method.shares_probing else sum(taus)) * epoch_s
            self.probed[head] = max(taus)

    def _begin_next(self) -> None:
        """Begins what the sampler suggests, or the nearest recipe that was not begun."""
        trial = self.study.ask(SPACE)
        recipe = recipe_of(trial.params)
        if recipe in self.begun:
            recipe = self._nearest(recipe)
            for name, value in params_of(recipe).items():
                # A trial's parameters are the sampler's alone to set; Optuna has no public way.
                internal = SPACE[name].to_internal_repr(value)
                self.study._storage.set_trial_param(trial._trial_id, name, internal, SPACE[name])
        self._begin(_Run(trial, recipe, self.table.index(recipe)))

    def _nearest(self, recipe: TableRecipe) -> TableRecipe:
        """Returns the recipe, not begun, that is fewest levels away; of equals any."""
        left = [other for other in self.table.recipes if other not in self.begun]
        away = np.abs(levels(left) - levels([recipe])).sum(axis=1)
        return left[int(self.rng.choice(np.flatnonzero(away == away.min())))]

    def _begin(self, run: _Run) -> None:
        self.begun[run.recipe] = run
        self._probe(run.recipe)
        if self.rules is not None:
            run.trial.set_user_attr("recipe", asdict(run.recipe))
            run.trial.set_user_attr("snapshots", self.replay.snapshots(run.recipe))
            frozen = self.study.get_trials(deepcopy=False)[run.trial.number]
            reason = self.rules.explain(self.study, frozen)
            if reason is not None:
                run.reason = reason
                self._end(run, "redundant" if reason.startswith("redundant") else "collapsed")
                return
        self._advance(run)

    def _probe(self, recipe: TableRecipe) -> None:
        head, done = recipe.head, 0
        if self.method.shares_probing:
            done = self.probed.get(head, 0)
            self.probed[head] = max(done, recipe.tau)
        self.seconds += max(0, recipe.tau - done) * self.table.hp_epoch_s.get(head, 0.0)

    def _advance(self, run: _Run) -> None:
        """Finetunes until the run ends or is paused, and books each epoch and each new best."""
        before = self.best
        curve = self.table.valid_acc[self.replay.seed, run.place].tolist()
        losses = self.table.valid_loss[self.replay.seed, run.place].tolist()
        while True:
            value = curve[run.epoch]
            run.epoch += 1
            self.ft_epochs += 1
            self.seconds += self.table.ft_epoch_s[run.place]
            if math.isnan(value):  # the epoch that diverged was paid for
                run.epoch -= 1
                self._end(run, "failed")
                if self.best != before:
                    self._book(before)
                return
            if (seen := rank(value, losses[run.epoch - 1])) > run.best:
                run.best, run.best_epoch = seen, run.epoch
                if value > self.best[0]:
                    self._book((value, run.place))
            end = self._verdict(run, value)
            if end is not None:
                self._end(run, end)
                return

    def _book(self, best: tuple[float, int]) -> None:
        """Takes note of the best so far where the recipe changes."""
        if best[1] != self.best[1]:
            self.trace.ft_epochs.append(self.ft_epochs)
            self.trace.seconds.append(self.seconds)
            self.trace.place.append(best[1])
        self.best = best

    def _verdict(self, run: _Run, value: float) -> End | None:
        """Returns how a run ends at its present epoch, or None to go on."""
        number, epoch, method = run.trial.number, run.epoch, self.method
        if epoch == FT_EPOCHS:
            return "complete"
        if has_stopped(epoch, run.best_epoch, method.patience_epochs):
            return "early"
        if self.stopper is not None and not self.stopper.goes_on(number, epoch, value):
            run.told = value
            if method.stopped_as == "pruned":
                run.trial.report(value, epoch)
            return "stopped"
        if self.promotion is not None and epoch in self.promotion.epochs:
            run.trial.report(run.best[0], epoch)
            return None if self.promotion.goes_on(number, epoch, run.best[0]) else "paused"
        if method.pruner is not None and (not method.rungs or epoch in method.rungs):
            run.trial.report(value, epoch)
            return "pruned" if run.trial.should_prune() else None
        return None

    def _end(self, run: _Run, end: End) -> None:
        run.end = end
        if end == "paused":
            return
        if end in ("complete", "early"):
            run.told = run.best[0]
        if end == "failed":
            self.study.tell(run.trial, state=TrialState.FAIL)
        elif end in ("complete", "early") or (end == "stopped" and self._tells_complete()):
            self.study.tell(run.trial, run.told)
        else:
            self.study.tell(run.trial, state=TrialState.PRUNED)
        if self.promotion is not None:
            nothing = end in ("failed", "redundant", "collapsed")
            self.promotion.ended(run.trial.number, None if nothing else run.best[0])

    def _tells_complete(self) -> bool:
        return self.method.stopped_as == "complete"
