"""Replays a search on a table: the samplers, pruners and rules are the real ones.

One trial at a time. Where people search, a rate is a real number and no suggestion is made twice;
so a suggestion that was begun before moves to the nearest recipe that was not, whoever makes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.trial import Trial, TrialState

from benchmarks.tabular.grid import FT_EPOCHS, GRID, MAP_TAU_MAX, Head, TableRecipe
from benchmarks.tabular.map_of_replay import MapOfReplay
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
from energytune.optimizer.energy_features import Known
from energytune.optimizer.pruner import EnergyPruner
from energytune.optimizer.ranking import tied_margin
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
        self._maps = {
            "shallow": MapOfReplay(self, (0,)),
            "all": MapOfReplay(self, GRID["reinit_depth"]),
        }

    def known(self, params: Mapping[str, Any]) -> Known:
        """Returns what the energy map of a search tells of Optuna's parameters."""
        return self._maps["shallow"](recipe_of(params))

    def known_at_all_depths(self, params: Mapping[str, Any]) -> Known:
        """Returns what an energy map would tell that has the deeper cuts too."""
        return self._maps["all"](recipe_of(params))

    def unmapped(self, params: Mapping[str, Any]) -> Known:
        """Returns which recipe Optuna's parameters are, and nothing of its energy."""
        return Known(recipe_of(params))

    def snapshot(self, recipe: TableRecipe) -> ProbeSnapshot | None:
        """Returns the recipe's probe at tau; None if it diverged before."""
        found = self.table.proxies.get((self.seed, recipe.head, recipe.tau))
        return None if found is None else ProbeSnapshot(**{**found, "epoch": int(found["epoch"])})  # type: ignore[arg-type]

    def snapshots(self, recipe: TableRecipe) -> list[dict[str, float]]:
        """Returns the recipe's probe up to tau, ascending in epoch; shorter if it diverged."""
        epochs = self.table.probe_epochs.get((self.seed, recipe.head), ())
        return [self.table.proxies[self.seed, recipe.head, e] for e in epochs if e <= recipe.tau]

    def search(
        self,
        method: Method,
        budget: int,
        sampler_seed: int,
        *,
        seconds: float = 0.0,
        n_finalists: int = 0,
    ) -> Trace:
        """Runs a search until both budgets are spent, or all recipes are run.

        Args:
            method: How.
            budget: Finetuning epochs.
            sampler_seed: Of the sampler.
            seconds: CPU seconds of probing and finetuning.
            n_finalists: So many of those that wait at the end are then run on, the best first.
        """
        return _Search(self, method, sampler_seed).run(budget, seconds, n_finalists)


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
    may_pause: bool = True
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
        self.returned = -1
        self.probed: dict[Head, int] = {}
        if method.maps != "nothing":
            self._map()

    def run(self, budget: int, seconds: float, n_finalists: int) -> Trace:
        while self.ft_epochs < budget or self.seconds < seconds:
            number = self.promotion.next() if self.promotion else None
            if number is not None:
                self._advance(next(r for r in self.begun.values() if r.trial.number == number))
            elif len(self.begun) < len(self.table.recipes):
                self._begin_next()
            else:
                break
        if self.promotion:
            for number in list(islice(self.promotion.best_first(), n_finalists)):
                run = next(r for r in self.begun.values() if r.trial.number == number)
                self.promotion.resume(number)
                run.may_pause = False
                self._advance(run)
        trace = self.trace
        trace.total_ft_epochs, trace.total_seconds = self.ft_epochs, self.seconds
        trace.ended = [Ended(r.place, r.end, r.epoch, r.reason) for r in self.begun.values()]
        return trace

    def _map(self) -> None:
        """Books the energy map.

        The pass over all heads tells the sampler; a trial probes its own head, which is another
        trajectory by rounding. Deeper cuts are probed one by one, as a trial would.
        """
        self.seconds += self.table.map_s
        if self.method.maps == "all":
            for head, epoch_s in self.table.hp_epoch_s.items():
                if head.reinit_depth > 0:
                    self.seconds += MAP_TAU_MAX * epoch_s
                    self.probed[head] = MAP_TAU_MAX

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
                self._book()
                return
            if (seen := rank(value, losses[run.epoch - 1])) > run.best:
                run.best, run.best_epoch = seen, run.epoch
                self._book()
            end = self._verdict(run, value)
            if end is not None:
                self._end(run, end)
                return

    def _book(self) -> None:
        """Takes note of the recipe that would be returned, where it changes."""
        place = self._winner()
        if place != self.returned:
            self.trace.ft_epochs.append(self.ft_epochs)
            self.trace.seconds.append(self.seconds)
            self.trace.place.append(place)
        self.returned = place

    def _winner(self) -> int:
        """Returns the place of the recipe that would be returned; -1 if there is none."""
        runs = [run for run in self.begun.values() if run.best_epoch and run.end != "failed"]
        if not runs:
            return -1
        top = max(run.best[0] for run in runs)
        if self.method.tied_se == 0.0:
            return next(run.place for run in runs if run.best[0] == top)
        least = top - tied_margin(top, self.table.n_valid, self.method.tied_se) - 1e-9
        return max((r for r in runs if r.best[0] >= least), key=lambda run: run.best[1]).place

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
            if not run.may_pause:
                return None
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
