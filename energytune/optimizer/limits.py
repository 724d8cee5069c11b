"""Why a search ends, in words; a limit is asked before each trial and says ``""`` while it may."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["EXHAUSTED", "Limit", "spent"]

Limit = Callable[[], str]
"""Returns why no further trial shall begin, ``""`` if one may."""

EXHAUSTED = "every recipe of the space was run"


def spent(n_trials: int, n_begun: int, n_ft_epochs: int | None, n_run: int) -> str:
    """Returns which of the countable budgets is spent, ``""`` if none.

    Args:
        n_trials: Trials to begin, >= 1.
        n_begun: Trials that were begun.
        n_ft_epochs: Finetuning epochs of all trials together, >= 1; None is no limit.
        n_run: Finetuning epochs that were run, those of running and paused trials included, and
            those that paused trials will be run for at the end. Not looked at without a limit.
    """
    if n_begun >= n_trials:
        return f"{n_trials:,} trial{'' if n_trials == 1 else 's'}"
    if n_ft_epochs is not None and n_run >= n_ft_epochs:
        return f"{n_ft_epochs:,} finetuning epoch{'' if n_ft_epochs == 1 else 's'}"
    return ""
