from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers.async_hyperband import _Bracket

from benchmarks.machine import RESULTS
from benchmarks.tabular.grid import FT_EPOCHS
from benchmarks.tabular.method import SPACE, recipe_of
from benchmarks.tabular.peers import (
    ASHA_GRID,
    BASELINES,
    METHODS,
    OURS,
    REFERENCE,
    TUNED,
    AshaSettings,
    RayAsha,
    method_of,
)
from benchmarks.tabular.replay import Replay
from tests.benchmarks.hand_made import ORDER, hand_made_table, rising

TABLE = hand_made_table({recipe: rising(0.3 + i / 500) for i, recipe in enumerate(ORDER)})


@pytest.mark.parametrize(("grace", "factor"), [(1, 4), (8, 3), (4, 2)])
def test_the_adapter_decides_as_rays_bracket(grace: int, factor: int) -> None:
    ours, theirs = RayAsha(grace, factor), _Bracket(grace, FT_EPOCHS, factor, 0)
    rng = np.random.default_rng(0)
    n_stopped = 0
    for number in range(40):
        trial = SimpleNamespace(trial_id=str(number))
        for epoch in range(1, FT_EPOCHS):
            value = float(rng.random())
            goes_on = theirs.on_result(trial, epoch, value) == "CONTINUE"
            assert ours.goes_on(number, epoch, value) == goes_on
            n_stopped += not goes_on
            if not goes_on:
                break
    assert n_stopped > 10


def test_rays_defaults_are_the_settings_defaults() -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(max_t=FT_EPOCHS)
    asked = [int(milestone) for milestone, _ in scheduler._brackets[0]._rungs]
    assert [int(m) for m, _ in RayAsha()._bracket._rungs] == asked
    assert AshaSettings() == AshaSettings(1, 4, False, 10, "complete", None)


# A warm start runs other searches first: test_warm.py.
@pytest.mark.parametrize("name", [name for name in METHODS if "warm" not in name])
def test_every_method_searches(name: str) -> None:
    trace = Replay(TABLE, 0).search(METHODS[name], 130, 0)
    assert trace.total_ft_epochs >= 130
    assert trace.at(130) is not None


@pytest.mark.parametrize("name", [OURS, "energytune - energy rules", "energytune + hedge"])
def test_the_same_seed_gives_the_same_search(name: str) -> None:
    assert Replay(TABLE, 0).search(METHODS[name], 100, 1) == Replay(TABLE, 0).search(
        METHODS[name], 100, 1
    )


def test_methods_are_found_by_name() -> None:
    assert method_of(OURS) is METHODS[OURS]
    settings = ASHA_GRID[7]
    assert method_of(settings.name).stopped_as == settings.stopped_as
    assert len({s.name for s in ASHA_GRID}) == len(ASHA_GRID) == 96
    with pytest.raises(KeyError):
        method_of("none such")


def test_the_reference_is_the_best_that_the_tuning_found() -> None:
    with (RESULTS / "tune_asha.csv").open() as file:
        best = next(csv.DictReader(file))
    chosen = {name: "" if value is None else str(value) for name, value in vars(TUNED).items()}
    assert {name: best[name] for name in chosen} == chosen
    assert TUNED in ASHA_GRID
    assert METHODS[REFERENCE].patience_epochs == TUNED.patience_epochs


def test_baselines_are_both_ends_of_tau() -> None:
    recipes = [recipe_of(params) for params in BASELINES]
    assert [recipe.tau for recipe in recipes] == [0, 2048]
    assert {recipe.ft_lr for recipe in recipes} == {0.01}
    for params in BASELINES:
        assert set(params) == set(SPACE)
