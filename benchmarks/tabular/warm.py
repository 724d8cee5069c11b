"""Warm start on the table: a search that has earlier searches to learn from.

The history is what a user would have: one search of 30 trials on each of some other tasks, run by
the package itself. Only what such a search writes down is used: its trials and their probes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from optuna.samplers import BaseSampler

from benchmarks.tabular.grid import MAP_TAU_MAX, N_SEEDS, Head, TableRecipe, TaskName
from benchmarks.tabular.method import SPACE, Method
from benchmarks.tabular.replay import Replay
from benchmarks.tabular.table import load_table, tables
from energytune.optimizer.energy_features import energy_features
from energytune.optimizer.energy_sampler import EnergySampler
from energytune.optimizer.past_search import Energies, PastSearch, energies_of, ranks
from energytune.optimizer.warm_start import WarmStart
from energytune.training import ProbeSnapshot

__all__ = ["History", "WarmSampler", "history", "searched", "warm_energytune"]

History = Literal["other datasets", "same dataset", "same task"]
"""Which searches came before; each has those of the one before it as well.

``"other datasets"``: of all other design datasets, never the task's own. ``"same dataset"``: also
of the task's dataset with the other backbone. ``"same task"``: also of the task itself with
another seed, the most that there can be to learn from.
"""

_N_TRIALS = 30
_BUDGET = 1000
"""Finetuning epochs in which a search of the package begins 30 trials and more."""


def warm_energytune(
    plain: Method, kind: History = "other datasets", *, threshold: float = 0.1, n_picks: int = 2
) -> Method:
    """Returns a method that starts as ``plain`` would with earlier searches at hand.

    Args:
        plain: The package's search without them, which also runs the earlier ones.
        kind: Which searches came before.
        threshold: Distance of energy maps from which on an earlier search is not asked.
        n_picks: Picks that they give at most.
    """
    return plain.but(sampler=WarmSampler(plain, kind, threshold, n_picks))


@dataclass(frozen=True)
class WarmSampler:
    """Makes the sampler; a class, so that a method can be sent to another process.

    The arguments are those of :func:`warm_energytune`.
    """

    plain: Method
    kind: History
    threshold: float
    n_picks: int
    _searched: dict[tuple[str, int], PastSearch] = field(default_factory=dict, compare=False)

    def __call__(self, replay: Replay, seed: int) -> BaseSampler:
        return EnergySampler(
            replay.known, space=SPACE, seed=seed, warm_start=self.warm_start(replay)
        )

    def warm_start(self, replay: Replay) -> WarmStart:
        """Returns what the earlier searches know for a replay.

        They have the next seed of the table, so that not even on the same task they are the same
        runs; there is one set of them for each seed.
        """
        earlier = (replay.seed + 1) % N_SEEDS
        past = [self._search(name, earlier) for name in history(replay.table.task, self.kind)]
        return WarmStart(_energies(replay), past, threshold=self.threshold, n_picks=self.n_picks)

    def _search(self, task: str, seed: int) -> PastSearch:
        if (task, seed) not in self._searched:
            self._searched[task, seed] = searched(Replay(load_table(task), seed), self.plain)
        return self._searched[task, seed]


def history(task: TaskName, kind: History) -> list[str]:
    """Returns the tasks, of those that were computed, that were searched before ``task``."""
    design = [table.task for table in tables("design")]
    before = [other.name for other in design if other.dataset != task.dataset]
    if kind == "other datasets":
        return before
    own = [table.task for table in tables(task.role) if table.task.dataset == task.dataset]
    before += [other.name for other in own if other.name != task.name]
    return [*before, task.name] if kind == "same task" else before


def searched(replay: Replay, plain: Method) -> PastSearch:
    """Returns the first 30 trials of a search; what it knows is what they have seen."""
    seed = replay.seed
    ended = replay.search(plain, _BUDGET, sampler_seed=10_000 + seed).ended[:_N_TRIALS]
    trials = [(replay.table.recipes[e.place], e) for e in ended]
    seen = [snapshot for recipe, _ in trials for snapshot in _snapshots(replay, recipe)]
    maxima = {
        "aie_max": max(snapshot.aie for snapshot in seen),
        "pull_max": max(snapshot.pull_norm for snapshot in seen),
    }
    features, values = [], []
    for recipe, end in trials:
        at = replay.snapshot(recipe)
        curve = replay.table.valid_acc[seed, end.place, : end.epoch]
        if at is not None and end.end != "failed" and len(curve):
            features.append(energy_features(at, recipe.ft_lr, **maxima))
            values.append(float(np.max(curve)))
    energies = energies_of(
        (*_address(recipe.head), _snapshots(replay, recipe)) for recipe, _ in trials
    )
    return PastSearch(replay.table.task.name, np.array(features), ranks(values), energies)


def _energies(replay: Replay) -> Energies:
    """Returns the energy map that a search on a replay's seed has probed."""
    mapped = (r for r in replay.table.recipes if r.reinit_depth == 0 and r.tau <= MAP_TAU_MAX)
    longest = {r.head: r for r in sorted(mapped, key=lambda r: r.tau)}
    return energies_of((*_address(head), _snapshots(replay, r)) for head, r in longest.items())


def _address(head: Head) -> tuple[str, float, int]:
    """Returns how a head is told from others; the table's probing rates count as heads."""
    return f"{head.head_arch} {head.hp_lr}", head.label_smoothing, head.reinit_depth


def _snapshots(replay: Replay, recipe: TableRecipe) -> list[ProbeSnapshot]:
    probes = replay.snapshots(recipe)
    return [ProbeSnapshot(**{**probe, "epoch": int(probe["epoch"])}) for probe in probes]  # type: ignore[arg-type]
