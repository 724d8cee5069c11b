"""The geometric grid of epochs at which head probing takes snapshots."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache

__all__ = ["snap_to_grid", "snapshot_epochs"]


def snapshot_epochs(tau_max: int) -> list[int]:
    """Returns 0, 1, 2, 3, 4, 6, 8, 11, 16, ... : two epochs an octave, and ``tau_max`` itself.

    The grid does not depend on ``tau_max`` (but for its last value), so that searches with
    different bounds share their snapshots.

    Args:
        tau_max: Last epoch, >= 0.
    """
    grid = {0, tau_max}
    half_octave = 0
    while (epoch := round(2 ** (half_octave / 2))) < tau_max:
        grid.add(epoch)
        half_octave += 1
    return sorted(grid)


def snap_to_grid(tau: int, low: int, high: int) -> int:
    """Returns the grid epoch in [low, high] that is nearest to ``tau`` on a log(1 + tau) scale.

    The bounds themselves count as grid epochs; a tie goes to the smaller epoch.
    """
    grid = _between(low, high)
    right = bisect_left(grid, tau)
    if right == 0:
        return grid[0]
    if right == len(grid):
        return grid[-1]
    below, above = grid[right - 1], grid[right]
    return below if (1 + tau) ** 2 <= (1 + below) * (1 + above) else above


@lru_cache
def _between(low: int, high: int) -> tuple[int, ...]:
    """Returns the grid epochs in [low, high], both included: a sampler asks a thousand times."""
    return tuple(sorted({low, *(e for e in snapshot_epochs(high) if e >= low)}))
