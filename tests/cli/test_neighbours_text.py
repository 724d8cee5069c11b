from __future__ import annotations

import io
import json

from rich.console import Console

from energytune.cli.neighbours_text import print_neighbours
from energytune.cli.options import SearchOptions
from energytune.cli.summary import summarise
from energytune.cli.summary_json import to_json
from energytune.cli.summary_text import print_summary
from energytune.config import apply_fixes
from energytune.science.noise import SeedNoise
from tests.report.hand_made import small_search, trial

WINNER = trial(0, (0.9,), tau=8)
RECORDS = [
    WINNER,
    trial(1, (0.88,), ft_lr=0.005),
    trial(2, (0.4, 0.7), ft_lr=0.02, state="PRUNED", reason="paused at epoch 2"),
    trial(3, (), tau=6, state="FAIL", reason="loss is nan"),
]
OPTIONS = SearchOptions(sampler="energy")


def printed(result, whole=False) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False, highlight=False, emoji=False)
    tell = print_summary if whole else print_neighbours
    tell(console, summarise(result, OPTIONS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if line.startswith(f" {name} ")]
    return found.removeprefix(f" {name} ").split()


def test_a_row_a_side(make_result) -> None:
    text = printed(make_result(winner=WINNER, records=RECORDS))
    assert row(text, "lower ft_lr") == ["t001", "88.0", "%", "+2.0", "linear", "tau=8", "lr=0.005"]
    assert " ".join(row(text, "higher ft_lr")) == (
        "t002 70.0 % (pruned at epoch 2) +20.0 linear tau=8 lr=0.02"
    )
    assert row(text, "smaller tau") == ["t003", "failed", "linear", "tau=6", "lr=0.01"]
    assert row(text, "larger tau") == ["-", "not", "run"]
    assert "seed deviations" not in text


def test_differences_in_seed_deviations_where_these_are_known(make_result) -> None:
    noise = SeedNoise(0.01, 3, 9, 6)
    text = printed(make_result(winner=WINNER, records=RECORDS, seed_noise=noise))
    assert "winner minus it in points (seed deviations)" in text
    assert row(text, "lower ft_lr")[3:5] == ["+2.0", "(+2.0)"]


def test_what_was_not_run_has_a_command_and_the_optimum_a_sentence(make_result) -> None:
    text = printed(make_result(winner=WINNER, records=RECORDS))
    assert text.splitlines()[-4:] == [
        "Whether the optimum is interior is open: no result at smaller tau and larger tau.",
        "To run what is missing:",
        "  # larger tau",
        "  energytune search --dataset digits --seed 0 --trials 1 --fix tau=11 "
        "--fix head_arch=linear --fix label_smoothing=0.0 --fix reinit_depth=0 --fix ft_lr=0.01 "
        "--no-baselines",
    ]


def test_a_trial_that_was_pruned_before_finetuning_shows_no_number(make_result) -> None:
    silent = trial(3, (), tau=11, state="PRUNED", reason="energy [spent]: same start as t001")
    text = printed(make_result(winner=WINNER, records=[WINNER, silent]))
    assert row(text, "larger tau")[:4] == ["t003", "pruned", "before", "finetuning"]


def test_the_end_of_the_space_is_told(make_result) -> None:
    text = printed(make_result(winner=trial(0, tau=4096), records=[]))
    assert row(text, "larger tau") == ["-", "the", "space", "ends", "here"]
    assert "tau is at the space's upper bound: widen it." in text


def test_where_all_is_fixed_or_nothing_is_complete_there_is_nothing_to_tell(make_result) -> None:
    result = make_result(winner=WINNER, records=[WINNER])
    space = apply_fixes(result.config.space, {"tau": 8, "ft_lr": 0.01})
    result.config = result.config.model_copy(update={"space": space})
    assert printed(result) == ""
    assert printed(make_result(winner=None, records=small_search()[4:5])) == ""


def test_the_summary_has_it_and_so_has_the_json(make_result) -> None:
    result = make_result(winner=WINNER, records=RECORDS)
    assert printed(result) in printed(result, whole=True)
    document = json.loads(to_json(summarise(result, OPTIONS)))
    assert document["optimum"].startswith("Whether the optimum is interior is open")
    lower, higher, smaller, larger = document["neighbours"]
    assert lower.pop("recipe")["ft_lr"] == 0.005
    assert round(lower.pop("difference"), 6) == 0.02
    assert lower == {
        "direction": "lower ft_lr",
        "number": 1,
        "state": "COMPLETE",
        "ft_valid_acc": 0.88,
        "ft_epoch": 1,
        "difference_in_seed_deviations": None,
        "command": None,
    }
    assert (higher["state"], higher["ft_valid_acc"], higher["ft_epoch"]) == ("PRUNED", 0.7, 2)
    assert (smaller["state"], smaller["ft_valid_acc"]) == ("FAIL", None)
    assert (larger["number"], larger["state"], larger["recipe"]["tau"]) == (None, None, 11)
    assert "--fix tau=11" in larger["command"]


def test_json_without_a_winner_has_no_neighbours(make_result) -> None:
    document = json.loads(to_json(summarise(make_result(winner=None), OPTIONS)))
    assert (document["neighbours"], document["optimum"]) == ([], "")
