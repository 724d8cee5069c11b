from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import snap_to_grid, snapshot_epochs

taus = st.integers(min_value=0, max_value=1_000_000)


@pytest.mark.parametrize(
    ("tau_max", "grid"),
    [
        (0, [0]),
        (1, [0, 1]),
        (5, [0, 1, 2, 3, 4, 5]),
        (16, [0, 1, 2, 3, 4, 6, 8, 11, 16]),
        (20, [0, 1, 2, 3, 4, 6, 8, 11, 16, 20]),
    ],
)
def test_the_grid_has_two_epochs_an_octave_and_its_end(tau_max: int, grid: list[int]) -> None:
    assert snapshot_epochs(tau_max) == grid


def test_the_default_space_has_about_twenty_geometric_taus() -> None:
    assert len(snapshot_epochs(4096)) == 25
    assert snapshot_epochs(4096)[-3:] == [2048, 2896, 4096]


@given(taus)
def test_a_grid_is_sorted_without_repeats_from_0_to_its_end(tau_max: int) -> None:
    grid = snapshot_epochs(tau_max)
    assert grid == sorted(set(grid))
    assert grid[0] == 0
    assert grid[-1] == tau_max


@given(taus, taus)
def test_grids_with_other_bounds_share_their_epochs(first: int, second: int) -> None:
    small, large = sorted((first, second))
    assert set(snapshot_epochs(small)) - {small} <= set(snapshot_epochs(large))


@given(taus, taus, taus)
def test_snapping_stays_in_bounds_on_the_grid_and_settles(tau: int, a: int, b: int) -> None:
    low, high = sorted((a, b))
    snapped = snap_to_grid(tau, low, high)
    assert low <= snapped <= high
    assert snapped == low or snapped in snapshot_epochs(high)
    assert snap_to_grid(snapped, low, high) == snapped


@given(tau=taus, high=taus)
def test_snapping_finds_the_nearest_epoch_on_a_log_scale(tau: int, high: int) -> None:
    def distance(epoch: int) -> float:
        return abs(math.log1p(epoch) - math.log1p(tau))

    nearest = min(distance(epoch) for epoch in snapshot_epochs(high))
    assert distance(snap_to_grid(tau, 0, high)) == pytest.approx(nearest, abs=1e-12)


@pytest.mark.parametrize(
    ("tau", "low", "high", "snapped"),
    [(9, 0, 4096, 8), (10, 0, 4096, 11), (5, 0, 4096, 6), (9999, 0, 100, 100), (0, 5, 9, 5)],
)
def test_snapping_known_values(tau: int, low: int, high: int, snapped: int) -> None:
    assert snap_to_grid(tau, low, high) == snapped


def test_a_tie_goes_to_the_smaller_epoch() -> None:
    # 1 + 3 is the geometric mean of 1 + 1 and 1 + 7
    assert snap_to_grid(3, 1, 7) == 3
    assert (1 + 5) ** 2 > (1 + 4) * (1 + 6)
    assert snap_to_grid(5, 4, 6) == 6
    assert snap_to_grid(1, 0, 3) == 1
