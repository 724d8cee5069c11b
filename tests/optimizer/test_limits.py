from __future__ import annotations

import pytest

from energytune.optimizer.limits import spent


@pytest.mark.parametrize(
    ("n_trials", "n_begun", "n_ft_epochs", "n_run", "reason"),
    [
        (30, 29, None, 10**6, ""),
        (30, 30, None, 0, "30 trials"),
        (30, 31, 5, 5, "30 trials"),
        (1, 1, None, 0, "1 trial"),
        (2000, 2000, None, 0, "2,000 trials"),
        (30, 0, 2000, 1999, ""),
        (30, 0, 2000, 2000, "2,000 finetuning epochs"),
        (30, 0, 1, 7, "1 finetuning epoch"),
    ],
)
def test_which_budget_is_spent(
    n_trials: int, n_begun: int, n_ft_epochs: int | None, n_run: int, reason: str
) -> None:
    assert spent(n_trials, n_begun, n_ft_epochs, n_run) == reason
