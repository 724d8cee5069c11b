from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks import search_efficiency, tune_asha
from benchmarks.tabular import runs
from benchmarks.tabular.peers import METHODS, AshaSettings
from benchmarks.tabular.runs import Job, run_one
from tests.benchmarks.hand_made import ORDER, by_tau, hand_made_table, rising

GOOD = by_tau(32)


@pytest.fixture(autouse=True)
def _hand_made(monkeypatch: pytest.MonkeyPatch) -> None:
    table = hand_made_table({GOOD: rising(0.9)}, {GOOD: 0.9})
    for probe in list(table.proxies):
        for seed in range(1, 5):
            table.proxies[seed, probe[1], probe[2]] = table.proxies[probe]
    monkeypatch.setattr(runs, "load_table", lambda task: table)
    monkeypatch.setattr(runs, "N_SEEDS", 1)


def test_a_job_gives_a_row_a_repeat() -> None:
    rows = run_one(Job("random", "digits-mlp", (3, 4), ft_epochs=150, finetunes=0.0))
    assert [row["repeat"] for row in rows] == [3, 4]
    for row in rows:
        assert (row["method"], row["task"]) == ("random", "digits-mlp")
        assert (row["total_ft_epochs"], row["n_trials"]) == (200, 2)
        assert len(row["ft_epochs"]) == len(row["seconds"]) == len(row["place"])
        assert set(row["place"]) <= set(range(len(ORDER)))
    assert rows == run_one(Job("random", "digits-mlp", (3, 4), ft_epochs=150, finetunes=0.0))


def test_a_search_goes_on_for_as_many_finetunes_as_asked() -> None:
    (row,) = run_one(Job("random", "digits-mlp", (0,), ft_epochs=1, finetunes=5.0))
    # A finetune takes 200 s in the table that is made by hand.
    assert row["total_seconds"] >= 5 * 200


def test_only_what_is_missing_is_run_again() -> None:
    options = Namespace(methods=["random", "gp"], repeats=12)
    kept = [{"method": "random", "task": "a", "repeat": r} for r in range(10)]
    jobs = search_efficiency._jobs(options, ["a"], kept)
    assert [(job.method, job.repeats) for job in jobs] == [
        ("random", (10, 11)),
        ("gp", (0, 1, 2, 3, 4)),
        ("gp", (5, 6, 7, 8, 9)),
    ]
    assert METHODS["gp"].max_repeats == 10


def test_settings_that_came_further_rank_before_better_ones_that_did_not() -> None:
    seen = {"far": [2.0, 2.0], "near": [0.1], "far and good": [1.0, 2.0], "none": []}
    ranked = sorted(seen, key=lambda name: tune_asha._rank(seen[name]))
    assert ranked == ["far and good", "far", "near", "none"]


def test_a_line_of_the_tuning_has_settings_mean_and_error() -> None:
    line = tune_asha._line(AshaSettings(grace=2), [1.0, 2.0, 3.0])
    assert (line["grace"], line["n_searches"], line["regret_points"]) == (2, 3, 2.0)
    assert line["standard_error"] == pytest.approx(1 / 3**0.5, abs=1e-4)
