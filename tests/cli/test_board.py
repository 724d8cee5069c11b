from __future__ import annotations

from dataclasses import replace

import pytest

from energytune.cli.board import Board
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Paused, ProbeDone, TrialRecord
from tests.report.hand_made import (
    confirmation,
    job,
    of_test,
    small_search,
    snapshot,
    stopped,
    trial,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def epochs(*accuracies: float) -> EpochsDone:
    done = tuple(FinetuneEpoch(i, 1, 0.5, 1, a) for i, a in enumerate(accuracies, start=1))
    return EpochsDone(done, 0.1)


def test_a_row_follows_its_trial() -> None:
    board = Board(3, 10)
    row = board.started(job(0))
    assert (row.phase, row.running, row.aie, row.ft_valid_acc) == ("probing", True, None, None)
    board.progress(job(0), [ProbeDone((snapshot(0), snapshot(8)), 0.1, 8)])
    assert row.phase == "finetuning"
    assert (row.aie, row.hp_train_acc) == (snapshot(8).aie, snapshot(8).train_acc)
    board.progress(job(0), [epochs(0.3, 0.7)])
    board.progress(job(0), [epochs(0.6)])
    assert (row.n_epochs, row.ft_valid_acc) == (3, 0.7)
    ended = board.ended(trial(0, (0.5, 0.9)))
    assert (ended.phase, ended.running, ended.ft_valid_acc) == ("COMPLETE", False, 0.9)
    assert board.rows == [ended]


def test_the_record_is_the_truth_even_if_nothing_was_told_before() -> None:
    board = Board(6, 10)
    for record in small_search():
        board.ended(record)
    assert [row.phase for row in board.rows] == ["COMPLETE"] * 3 + ["PRUNED", "FAIL", "COMPLETE"]
    assert board.rows[3].reason.startswith("energy")
    assert board.rows[3].ft_valid_acc == 0.3
    assert board.n_ended == 5  # the repetition is no trial
    assert board.best is board.rows[2]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (trial(0), "complete"),
        (stopped(0, 63), "stopped at 63/200"),
        (trial(0, (0.5,) * 17, state="PRUNED", reason="rung"), "pruned at 17/200"),
        (trial(0, (), state="PRUNED", reason="energy"), "pruned before FT"),
        (trial(0, (), state="PRUNED", duplicate_of=3), "pruned"),
        (trial(0, duplicate_of=3), "complete"),
        (trial(0, (0.5, 0.6), state="FAIL", reason="nan"), "failed"),
        (trial(0, (), state="RUNNING"), "failed"),
    ],
)
def test_a_stop_a_prune_and_a_failure_read_differently(record: TrialRecord, told: str) -> None:
    board = Board(3, 200)
    row = board.ended(record)
    assert board.end_of(row) == told
    assert bool(row.stop_reason) == told.startswith("stopped")


def test_a_test_of_a_finetune_that_stopped_is_complete() -> None:
    tested = replace(stopped(0, 63), epochs=())
    board = Board(3, 200)
    assert board.end_of(board.ended(tested)) == "complete"


def test_a_trial_that_stopped_by_itself_may_be_the_best() -> None:
    board = Board(2, 200)
    board.ended(trial(0, (0.6,)))
    row = board.ended(stopped(1))
    assert (board.best, row.phase, row.ft_valid_acc) == (row, "COMPLETE", 0.7)


def test_the_best_is_complete_of_the_search_and_the_earliest_of_equals() -> None:
    board = Board(4, 10)
    assert board.best is None
    board.ended(trial(0, (0.99,), state="PRUNED"))
    assert board.best is None
    board.ended(trial(1, (0.9,)))
    board.ended(trial(2, (0.9,)))
    board.ended(confirmation(2, 7, 100))
    board.ended(of_test(confirmation(2, 7, 100)))
    assert board.best is not None
    assert board.best.job.number == 1


def begin(board: Board, number: int) -> None:
    board.started(job(number))
    board.progress(job(number), [ProbeDone((snapshot(8),), 0.1, 8)])


def test_eta_is_the_pace_so_far_times_what_is_left() -> None:
    clock = Clock()
    board = Board(4, 10, n_confirm=6, clock=clock)
    board.started(job(0))
    clock.now += 50  # pretraining and the workers' start: no part of the pace
    begin(board, 0)
    clock.now += 8
    board.ended(trial(0))
    assert board.eta_s() is None
    begin(board, 1)
    clock.now += 8
    board.ended(trial(1))
    assert board.eta_s() == 8 * (2 + 6)


def test_eta_of_the_confirmation_forgets_trials_that_were_not_wanted() -> None:
    clock = Clock()
    board = Board(10, 10, n_confirm=2, clock=clock)
    begin(board, 0)
    clock.now += 4
    board.ended(trial(0))
    board.started(confirmation(0, 1, 50).job)  # a time budget ended the search
    clock.now += 4
    board.ended(confirmation(0, 1, 50))
    assert (board.confirming, board.n_confirmed, board.testing) == (True, 1, False)
    assert board.eta_s() == 4
    board.ended(of_test(confirmation(0, 1, 50)))  # what was beaten needs no second run
    assert (board.n_ended, board.n_confirmed, board.testing) == (1, 1, True)
    assert board.eta_s() == 0


def test_eta_is_bounded_by_the_budget() -> None:
    clock = Clock()
    board = Board(1000, 10, time_budget_s=30, clock=clock)
    for number in (0, 1):
        begin(board, number)
        clock.now += 5
        board.ended(trial(number))
    assert board.eta_s() == 20
    clock.now += 100
    assert board.eta_s() == 0


def test_trials_of_an_earlier_start_are_no_pace() -> None:
    board = Board(4, 10)
    board.ended(trial(0))
    assert (board.n_ended, board.eta_s()) == (1, None)


def test_visible_rows_are_the_running_the_best_and_the_last() -> None:
    board = Board(30, 10)
    for number in range(20):
        board.ended(trial(number, (0.9 if number == 3 else 0.5,)))
    board.started(job(20))
    board.started(job(21))
    assert [row.job.number for row in board.visible(5)] == [3, 18, 19, 20, 21]
    assert [row.job.number for row in board.visible(1)] == [21]
    assert board.visible(100) == board.rows


def curve(first: int, *accuracies: float) -> EpochsDone:
    done = (FinetuneEpoch(i, 1, 0.5, 1, a) for i, a in enumerate(accuracies, start=first))
    return EpochsDone(tuple(done), 0.1)


def test_a_paused_trial_waits_and_goes_on_where_it_was() -> None:
    board = Board(3, 200)
    begin(board, 0)
    row = board.progress(job(0), [curve(1, 0.3, 0.5), Paused(2)])
    assert (row.phase, row.running, board.end_of(row)) == ("waiting", False, "waits at 2/200")
    assert (board.n_waiting, board.n_rested, board.n_ended) == (1, 1, 0)
    assert board.best is None
    board.progress(job(0), [curve(3, 0.4)])
    assert (row.phase, row.running, row.n_epochs, row.ft_valid_acc) == ("finetuning", True, 3, 0.5)
    assert (board.n_waiting, board.n_rested, board.n_ended) == (0, 1, 0)
    board.ended(trial(0, (0.3, 0.5, 0.4)))
    assert (board.n_waiting, board.n_rested, board.n_ended) == (0, 1, 1)


def test_what_waits_is_shown_after_what_runs() -> None:
    board = Board(9, 10)
    for number in range(4):
        begin(board, number)
    board.progress(job(3), [curve(1, 0.5), Paused(1)])
    assert [row.job.number for row in board.visible(3)] == [0, 1, 2]


def test_a_pause_is_a_step_of_the_pace() -> None:
    clock = Clock()
    board = Board(6, 10, clock=clock)
    for number in (0, 1):
        begin(board, number)
        clock.now += 5
        board.progress(job(number), [curve(1, 0.5), Paused(1)])
    assert board.eta_s() == 5 * 4
    board.progress(job(0), [curve(2, 0.5)])
    clock.now += 5
    board.ended(trial(0))
    assert board.eta_s() == 7.5 * 4  # the same trial twice is one step


def test_the_confirmation_of_a_baseline_in_between_is_not_the_end_of_the_search() -> None:
    board = Board(10, 10, n_confirm=6)
    begin(board, 0)
    board.ended(trial(0))
    board.started(confirmation(0, 1, 50).job)
    assert board.confirming
    board.ended(confirmation(0, 1, 50))
    board.started(job(1))
    assert not board.confirming
