from __future__ import annotations

from energytune.report.costs import costs
from tests.report.hand_made import small_confirmation, small_search, stopped, trial


def test_costs_of_a_small_search() -> None:
    spent = costs(small_search(), small_confirmation(), {"total": 12.5, "search": 9.0})
    assert (spent.n_complete, spent.n_pruned, spent.n_failed) == (3, 1, 1)
    assert spent.ft_epochs == 2 + 2 + 3 + 1  # the repetition's epochs were not run again
    assert spent.ft_epochs_confirm == 8
    assert spent.hp_epochs == 0 + 64 + 8 + 16  # the failed one ended no probing
    assert spent.hp_epochs_run == 0 + 32 + 4 + 8 + 1
    assert spent.trial_seconds_hp == 5 * 0.25
    assert spent.trial_seconds_ft == 5 * 1.5
    assert spent.seconds == {"total": 12.5, "search": 9.0}


def test_a_stop_is_complete_and_counted_apart_from_what_was_pruned() -> None:
    waited = trial(7, (0.5, 0.6), state="PRUNED", reason="paused at epoch 2")
    spent = costs([*small_search(), stopped(6), waited])
    assert (spent.n_complete, spent.n_stopped, spent.n_pruned) == (4, 1, 2)


def test_nothing_costs_nothing() -> None:
    spent = costs([])
    assert (spent.ft_epochs, spent.hp_epochs_run, spent.seconds) == (0, 0, {})
