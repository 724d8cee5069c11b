from __future__ import annotations

import pytest

from energytune.config import SearchSpace
from energytune.search.prepare import map_grid


def test_the_map_is_the_cached_cut_and_both_ends_of_the_smoothings(space: SearchSpace) -> None:
    grid = map_grid(space, 7)
    assert (space.reinit_depth.low, space.reinit_depth.high) == (0, 1)
    assert grid.reinit_depths == (0,)
    assert grid.label_smoothings == (0.0, 0.3)
    assert grid.head_archs == ("linear", "mlp")
    assert (grid.lrs, grid.weight_decays) == ((space.probe.lr,), (space.probe.weight_decay,))
    assert (grid.seeds, grid.tau_max) == ((7,), 64)
    assert len(grid.heads()) == 4


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 3), (1, 3), (2, 2)])
def test_only_the_smallest_depth_is_mapped(space: SearchSpace, low: int, high: int) -> None:
    """It is 0, whether it is searched or not: every other one counts as that."""
    depth = space.reinit_depth.model_copy(update={"low": low, "high": high})
    grid = map_grid(space.model_copy(update={"reinit_depth": depth}), 0)
    assert {head.reinit_depth for head in grid.heads()} == {0}


def test_one_smoothing_is_mapped_once(space: SearchSpace) -> None:
    smoothing = space.label_smoothing.model_copy(update={"low": 0.1, "high": 0.1, "step": None})
    grid = map_grid(space.model_copy(update={"label_smoothing": smoothing}), 0)
    assert grid.label_smoothings == (0.1,)


def test_it_is_probed_for_512_epochs_at_most(space: SearchSpace) -> None:
    tau = space.tau.model_copy(update={"high": 4096})
    assert map_grid(space.model_copy(update={"tau": tau}), 0).tau_max == 512
