"""The tau sweep that Table 1 and Figures 1, 3 and 4 look at: one head, all else at its plainest."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, ArmResult
from benchmarks.paper.compute import run_arms
from benchmarks.paper.settings import Settings
from benchmarks.paper.statistics import Row, chosen_by_others

__all__ = ["HP0", "HP_BEST", "HP_MAX", "chosen_rows", "sweep", "sweep_arms"]

HP0, HP_MAX, HP_BEST = "HP0-FT", "HP-max-FT", "HP-FT"


def sweep_arms(settings: Settings) -> list[Arm]:
    """Returns one arm a tau, ascending."""
    return [Arm(tau, settings.ft_lr, settings.head_arch) for tau in settings.taus]


def sweep(settings: Settings) -> list[ArmResult]:
    """Returns the results of the sweep, by seed and tau."""
    return run_arms(settings, sweep_arms(settings))


def chosen_rows(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Returns, for each seed, plain finetuning, the longest probe and the chosen tau between.

    The tau of HP-FT is the interior one with the best mean validation score over the other seeds.
    """
    taus = sorted({int(row["tau"]) for row in rows})
    chosen = chosen_by_others(rows, taus[1:-1], "ft_valid_acc")
    named: list[dict[str, object]] = []
    for row in rows:
        seed, tau = int(row["seed"]), int(row["tau"])
        for name, wanted in ((HP0, taus[0]), (HP_MAX, taus[-1]), (HP_BEST, chosen[seed])):
            if tau == wanted:
                named.append({**row, "row": name})
    return named
