from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from energytune.tracking.open_run import OpenRun
from energytune.trial import EpochsDone, ProbeDone, Probing, TrialRecord
from tests.tracking.conftest import START_MS

Make = Callable[..., TrialRecord]
START_S = START_MS / 1000


def probed(record: TrialRecord) -> ProbeDone:
    return ProbeDone(record.snapshots, 1.0, 9)


def test_points_wait_until_their_time_has_come(make_record: Make) -> None:
    record, run = make_record(0), OpenRun("u", 20)
    run.add(Probing(record.snapshots[0], 9), START_S)
    assert run.take(START_S, 10.0) == []
    run.add(probed(record), START_S)
    run.add(EpochsDone(record.epochs[:2], 4.0), START_S + 9)
    assert run.take(START_S + 9.9, 10.0) == []
    names = Counter(name.partition("/")[0] for name, *_ in run.take(START_S + 10, 10.0))
    assert names == {"hp": 6 * len(record.snapshots), "ft": 4 * 2}
    run.add(EpochsDone(record.epochs[2:3], 2.0), START_S + 11)
    assert run.take(START_S + 19.9, 10.0) == []
    assert {step for *_, step in run.take(START_S + 20, 10.0)} == {3}


def test_times_are_spread_over_the_epochs(make_record: Make) -> None:
    record, run = make_record(0), OpenRun("u", 20)
    run.add(EpochsDone(record.epochs[:4], 8.0), START_S)
    at = {step: ms for _, _, ms, step in run.take(START_S, 0.0)}
    assert at == {1: START_MS - 6000, 2: START_MS - 4000, 3: START_MS - 2000, 4: START_MS}


@pytest.mark.parametrize("n_seen", [0, 5, 20])
def test_the_rest_is_what_was_not_written(make_record: Make, n_seen: int) -> None:
    record, run = make_record(0), OpenRun("u", 20)
    run.add(probed(record), START_S)
    run.add(EpochsDone(record.epochs[:n_seen], 1.0), START_S)
    written = run.take(START_S + 60, 10.0)
    run.add(EpochsDone(record.epochs[n_seen : n_seen + 1], 1.0), START_S + 61)  # still waits
    points = written + run.rest(record, START_MS + 90_000)
    assert set(Counter((name, step) for name, _, _, step in points).values()) == {1}
    steps = [step for name, *_, step in points if name == "ft/valid_acc"]
    assert sorted(steps) == list(range(1, 21))
    assert ("objective", 0.8) in [(name, value) for name, value, *_ in points]


def test_without_a_number_of_epochs_the_curve_comes_at_the_end(make_record: Make) -> None:
    record, run = make_record(0, n_epochs=3), OpenRun("u", None)
    run.add(EpochsDone(record.epochs, 1.0), START_S)
    assert run.take(START_S + 60, 0.0) == []
    rest = run.rest(record, START_MS)
    assert [step for name, *_, step in rest if name == "ft/valid_acc"] == [1, 2, 3]


def test_a_trial_that_showed_nothing_has_its_seconds_only(make_record: Make) -> None:
    failed = make_record(0, "FAIL", n_epochs=0, reason="out of memory")
    run = OpenRun("u", 20)
    run.add(probed(failed), START_S)
    run.take(START_S + 60, 10.0)
    assert [name for name, *_ in run.rest(failed, START_MS)] == ["time/hp_s", "time/ft_s"]


@pytest.mark.parametrize("ft_epochs", [20, None])
def test_an_interrupted_trial_shows_its_best_so_far(
    make_record: Make, ft_epochs: int | None
) -> None:
    record, run = make_record(0), OpenRun("u", ft_epochs)
    assert run.so_far(START_MS) == []
    run.add(probed(record), START_S)
    for first in (0, 3, 6, 9):
        run.add(EpochsDone(record.epochs[first : first + 3], 1.0), START_S)
    told = {(name, step): value for name, value, _, step in run.so_far(START_MS)}
    assert told["ft/best_valid_acc", 0] == record.epochs[6].valid_acc
    assert ("hp/aie", 9) in told
    assert (("ft/valid_acc", 12) in told) is (ft_epochs is not None)
