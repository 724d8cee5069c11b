"""What the energy map of a replayed search tells of a recipe."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.tabular.grid import MAP_TAU_MAX, TableRecipe
from energytune.optimizer.energy_features import Known, energy_features

if TYPE_CHECKING:
    from benchmarks.tabular.replay import Replay

__all__ = ["MapOfReplay"]


class MapOfReplay:
    """What is deeper or later counts as the last that is mapped.

    Args:
        replay: Whose table and seed.
        depths: Mapped depths.
    """

    def __init__(self, replay: Replay, depths: Collection[int]) -> None:
        self._replay, self._deepest = replay, max(depths)
        probes = replay.table.proxies.items()
        own = [
            probe
            for (seed, head, epoch), probe in probes
            if seed == replay.seed and head.reinit_depth in depths and epoch <= MAP_TAU_MAX
        ]
        self._maxima = {
            "aie_max": max((probe["aie"] for probe in own), default=0.0),
            "pull_max": max((probe["pull_norm"] for probe in own), default=0.0),
        }
        self._known: dict[TableRecipe, Known] = {}

    def __call__(self, recipe: TableRecipe) -> Known:
        if recipe not in self._known:
            mapped = replace(
                recipe,
                reinit_depth=min(recipe.reinit_depth, self._deepest),
                tau=min(recipe.tau, MAP_TAU_MAX),
            )
            at = self._replay.snapshot(mapped)
            features = at and energy_features(at, recipe.ft_lr, **self._maxima)
            self._known[recipe] = Known(recipe, features)
        return self._known[recipe]
