from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, replace

import pytest
from rich.console import Console

from energytune.cli.confirm_text import difference_text, print_comparison, print_race
from energytune.cli.options import SearchOptions
from energytune.cli.summary import summarise
from energytune.cli.summary_json import to_json
from energytune.config import Recipe
from energytune.report.intervals import Interval, PairedDifference
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord
from tests.report.hand_made import confirmation, small_confirmation, small_search, trial

NOISE = SeedNoise(0.01, 3, 9, 6)


@dataclass(frozen=True)
class Place:
    number: int
    mean: float | None
    n_seeds: int
    dropped: str = ""

    @property
    def recipe(self) -> Recipe:
        return small_search()[self.number].job.recipe


RACE = [Place(2, 0.905, 3), Place(1, 0.89, 3), Place(0, 0.80, 1, "beaten: 10.5 points behind t002")]


def on_valid(number: int, seed: int, accuracy: float) -> TrialRecord:
    record = confirmation(number, seed, 90)
    assert record.finished is not None
    return replace(record, finished=replace(record.finished, objective=accuracy))


RUNS = [
    *(on_valid(2, seed, accuracy) for seed, accuracy in ((1, 0.90), (2, 0.905), (3, 0.91))),
    *(on_valid(1, seed, accuracy) for seed, accuracy in ((1, 0.88), (2, 0.89), (3, 0.90))),
    on_valid(0, 1, 0.80),
]


@pytest.fixture
def raced(make_result):
    def make(**changes):
        return make_result(confirmed=RACE, seed_noise=NOISE, confirmations=RUNS, **changes)

    return make


def printed(result, part=print_race) -> list[str]:
    console = Console(file=io.StringIO(), width=120, markup=False, highlight=False, emoji=False)
    part(console, summarise(result, SearchOptions()))
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_race_is_told_with_who_was_beaten(raced) -> None:
    text = printed(raced())
    assert "t002 90.5 % 3 mlp tau=8 ls=0.1 lr=0.3 winner" in text
    assert "t001 89.0 % 3 linear tau=64 lr=0.01" in text
    assert "t000 80.0 % 1 linear tau=0 lr=0.01 beaten: 10.5 points behind t002" in text


def test_the_deviation_is_told_with_its_interval(raced) -> None:
    low, high = NOISE.interval()
    assert (
        f"Seed deviation of FT-valid-acc: 1.0 points (95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f}, from 9 runs of 3 recipes)"
    ) in printed(raced())


def test_the_runner_up_is_compared_in_points_and_deviations(raced) -> None:
    (told,) = [line for line in printed(raced()) if "runner-up" in line]
    assert told.startswith(
        "Winner minus runner-up t001, in points of FT-valid-acc: +1.5 (1.5 seed deviations) ["
    )


def test_a_winner_that_is_not_the_best_single_run_is_told_in_one_line(raced) -> None:
    assert not any("single run" in line for line in printed(raced()))
    records = small_search()
    records[1] = trial(1, (0.6, 0.95), tau=64, role="baseline_tau_max")
    (told,) = [line for line in printed(raced(records=records)) if "single run" in line]
    assert told == (
        "The best single run was t001; it is not the winner, which has +1.5 points (1.5 seed "
        "deviations) on the shared seeds."
    )


def test_of_equal_single_runs_the_one_of_lower_loss_is_the_best(raced) -> None:
    records = small_search()
    best = records[2].finished
    assert best is not None
    rival = trial(1, (0.6, best.objective), tau=64, role="baseline_tau_max")
    assert rival.finished is not None
    for loss, n_told in ((best.best_valid_loss + 0.1, 0), (best.best_valid_loss - 0.1, 1)):
        ended = replace(rival.finished, objective=best.objective, best_valid_loss=loss)
        records[1] = replace(rival, finished=ended)
        told = [line for line in printed(raced(records=records)) if "single run" in line]
        assert len(told) == n_told


def test_the_best_of_an_interrupted_race_is_compared_with_nobody(raced) -> None:
    summary = summarise(raced(interrupted=True), SearchOptions())
    assert not summary.is_confirmed
    assert summary.runner_up is summary.best_run is None
    assert summarise(raced(), SearchOptions()).is_confirmed


def test_a_best_run_without_a_shared_seed_is_told_all_the_same(raced) -> None:
    records = small_search()
    records[1] = trial(1, (0.6, 0.95), tau=64, role="baseline_tau_max")
    result = raced(records=records)
    result.confirmations = [r for r in RUNS if r.job.number != 1]
    assert "The best single run was t001; it is not the winner." in printed(result)
    assert any("not measured: no seed that both have finished" in x for x in printed(result))


def test_without_repeats_no_deviation_is_told(make_result) -> None:
    text = printed(make_result(confirmed=[Place(2, 0.9, 1)], confirmations=RUNS[:1]))
    assert "Seed deviation: not measured, no recipe was run on two seeds." in text
    assert not any("runner-up" in line for line in text)


def test_an_interrupted_race_has_no_winner_yet(raced) -> None:
    text = printed(raced(interrupted=True))
    assert any(line.startswith("t002") for line in text)
    assert not any("winner" in line.lower() for line in text)


@pytest.mark.parametrize("standings", [[], [Place(2, None, 0, "its run on seed 1 failed: nan")]])
def test_without_a_race_nothing_is_told(make_result, standings: list[Place]) -> None:
    assert printed(make_result(confirmed=standings)) == []


def test_a_winner_that_was_not_tested_is_not_compared(make_result) -> None:
    assert printed(make_result(confirmations=[]), print_comparison) == []
    assert printed(make_result(confirmations=small_confirmation()), print_comparison) != []


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (PairedDifference(0.05, Interval(0.02, 0.08), 3), "+5.0 [+2.0, +8.0]"),
        (
            PairedDifference(-0.01, Interval(-0.03, 0.01), 3),
            "-1.0 [-3.0, +1.0], may be chance",
        ),
        (PairedDifference(0.02, None, 1), "+2.0 (one seed: no interval)"),
        (PairedDifference(math.nan, None, 0), "not measured: no seed that both have finished"),
    ],
)
def test_differences_in_words(difference: PairedDifference, told: str) -> None:
    assert difference_text(difference, 3) == told


def test_differences_in_seed_deviations() -> None:
    difference = PairedDifference(-0.018, Interval(-0.03, 0.01), 2)
    assert difference_text(difference, 3, -1.84) == (
        "-1.8 (1.8 seed deviations) [-3.0, +1.0], may be chance (2 of 3 seeds)"
    )
    assert difference_text(PairedDifference(0.02, None, 1), 1, 2.0) == (
        "+2.0 (2.0 seed deviations) (one seed: no interval)"
    )


def test_json_holds_the_race(raced) -> None:
    document = json.loads(to_json(summarise(raced(), SearchOptions())))
    assert [(c["number"], c["ft_valid_acc_mean"], c["n_seeds"]) for c in document["confirmed"]] == [
        (2, 0.905, 3),
        (1, 0.89, 3),
        (0, 0.8, 1),
    ]
    assert document["confirmed"][2]["dropped"] == "beaten: 10.5 points behind t002"
    assert document["seed_noise"]["deviation"] == 0.01
    assert document["seed_noise"]["interval"] == pytest.approx(NOISE.interval())
    runner_up = document["runner_up"]
    assert (runner_up["number"], runner_up["n_pairs"]) == (1, 3)
    assert runner_up["difference"] == pytest.approx(0.015)
    assert runner_up["difference_in_seed_deviations"] == pytest.approx(1.5)
    assert document["best_single_run"] is None


def test_json_without_a_race_has_nothing_in_its_place(make_result) -> None:
    document = json.loads(to_json(summarise(make_result(), SearchOptions())))
    assert (document["confirmed"], document["seed_noise"]) == ([], None)
    assert document["runner_up"] is document["best_single_run"] is None
