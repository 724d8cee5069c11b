from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from energytune.cli.options import SearchOptions
from energytune.cli.summary import summarise
from energytune.cli.summary_json import to_json
from energytune.cli.summary_text import print_summary
from energytune.config import apply_fixes
from energytune.report.intervals import wilson_interval
from tests.report.hand_made import small_search, stopped, trial

OPTIONS = SearchOptions(checkpoint=Path("my weights.pt"), finetune_epochs=9, sampler="random")


def printed(result, options: SearchOptions = OPTIONS) -> str:
    console = Console(file=io.StringIO(), width=100, markup=False, highlight=False, emoji=False)
    print_summary(console, summarise(result, options))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, *words: str) -> str:
    (found,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return found


def test_begins_with_why_the_search_ended(make_result) -> None:
    result = make_result(end_reason="2,000 finetuning epochs")
    text = printed(result)
    assert text.strip().splitlines()[0] == "Search ended: 2,000 finetuning epochs"
    assert json.loads(to_json(summarise(result, OPTIONS)))["end_reason"] == result.end_reason
    assert "Search ended" not in printed(make_result(end_reason=""))


def test_a_search_that_ended_early_goes_on_without_what_ended_it(make_result) -> None:
    made = make_result()
    made.config = made.config.model_copy(update={"ft_epochs_budget": 50})
    text = printed(made, replace(OPTIONS, ft_epochs=50))
    assert f"--trials {2 * len(made.records)} " in line(text, "--out", "search")
    assert "--ft-epochs" not in text


def test_tells_the_winner_with_its_interval(make_result) -> None:
    text = printed(make_result())
    assert line(text, "Winner:") == ("Winner: t002 mlp tau=8 ls=0.1 lr=0.3, FT-valid-acc 90.0 %")
    interval = wilson_interval(0.9, 100)
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    assert line(text, "Test accuracy: 90.0 %").endswith(
        f"(95 % interval {bounds} over 100 images; mean of 3 seeds)"
    )


def test_tells_a_command_that_runs_the_winner_again(make_result) -> None:
    assert line(printed(make_result()), "--fix tau=8", "ft_lr=0.3").strip() == (
        "energytune search --dataset digits --checkpoint 'my weights.pt' --seed 0 --trials 1 "
        "--fix tau=8 --fix head_arch=mlp --fix label_smoothing=0.1 --fix reinit_depth=0 "
        "--fix ft_lr=0.30000000000000004 --finetune-epochs 9 --no-baselines"
    )


def test_a_baseline_that_won_is_told(make_result) -> None:
    text = printed(make_result(winner=small_search()[0]))
    assert "--trials 1 --fix tau=0" in text
    assert "it is the winner" in line(text, "tau=0 ", "t000 ", "84.0")


def test_compares_with_both_baselines_by_seed(make_result) -> None:
    text = printed(make_result())
    assert "Test accuracy over 3 seeds" in text
    assert line(text, "winner ", "t002").split()[2:] == ["90.0", "%", "88.0", "90.0", "92.0"]
    zero = line(text, "tau=0 ", "t000 ", "84.0")
    half = 100 * 0.01 / math.sqrt(3) * 0.95 / math.sqrt(2 * 0.975 * 0.025)
    assert f"+5.0 [{5 - half:+.1f}, {5 + half:+.1f}]" in zero
    assert "chance" not in zero
    largest = line(text, "tau=max", "t001")
    assert "89.0 91.0 (1 failed)" in largest
    assert "may be chance (2 of 3 seeds)" in largest


def test_tells_differences_in_seed_deviations(make_result) -> None:
    """Of 88, 90, 92; 84, 85, 86; 89, 91: 12 of squares over 5 degrees of freedom."""
    text = printed(make_result())
    size = 5 / math.sqrt(12 / 5)
    assert line(text, "In seed deviations") == (
        f"In seed deviations of the test accuracy: {size:+.1f} to tau=0, +0.0 to tau=max"
    )
    winner = printed(make_result(winner=small_search()[0], baselines={"tau=0": small_search()[0]}))
    assert "In seed deviations" not in winner


def test_tells_the_cost(make_result) -> None:
    text = printed(make_result())
    assert line(text, "Cost:") == "Cost: 1:15 (search 1:00)"  # hp and ft are sums over workers
    assert "3 complete, 1 pruned, 1 failed, 1 repeated and not run again" in text
    assert "FT epochs: 8, and 8 to confirm; HP epochs: 45 run of 88 wanted" in text
    assert "HP 1.2 s, FT 7.5 s" in text


def test_tells_the_time_of_the_energy_map_between_features_and_search(make_result) -> None:
    stages = {"start": 2.0, "pretrain": 1.0, "features": 1.5, "map": 3.2, "search": 60.0}
    result = make_result(seconds={"total": 75.0, **stages, "hp": 9.0, "ft": 50.0})
    assert line(printed(result), "Cost:") == (
        "Cost: 1:15 (start 2.0 s, pretrain 1.0 s, features 1.5 s, map 3.2 s, search 1:00)"
    )
    document = json.loads(to_json(summarise(result, OPTIONS)))
    assert document["costs"]["seconds"]["map"] == 3.2


def test_counts_stops_apart_from_prunes_and_failures(make_result) -> None:
    text = printed(make_result(records=[*small_search(), stopped(6)]))
    assert "4 complete (1 of them stopped early by themselves), 1 pruned, 1 failed" in text


def test_tells_why_trials_failed(make_result) -> None:
    text = printed(make_result())
    assert line(text, "t004 failed") == "  t004 failed: TrialFailure: loss is nan"
    assert line(text, "t001 seed 2 failed") == "  t001 seed 2 failed: NaN loss"
    many = [trial(i, (), state="FAIL", reason=f"nan {i}") for i in range(7)]
    text = printed(make_result(records=[*small_search()[:3], *many], confirmations=[]))
    assert [f"nan {i}" in text for i in range(4)] == [True, True, True, False]
    assert "and 4 more failed" in text


def test_tells_model_and_link_without_folding_it(make_result) -> None:
    result = make_result()
    text = printed(result)
    assert line(text, "Model:") == (
        "Model: energytune-digits version 3 (champion): 90.0 % beats 85.0 %"
    )
    assert line(text, "MLflow,") == (f"MLflow, while `energytune ui` runs: {result.tracking.link}")
    assert line(text, "Folder:") == "Folder: /runs/digits one"


def test_tells_what_to_do_next(make_result) -> None:
    text = printed(make_result())
    assert "energytune ui '/runs/digits one'" in text
    assert "--trials 60" in line(text, "--out '/runs/digits one'")
    assert "sync" not in text


def test_where_all_is_fixed_there_is_no_more_to_search(make_result) -> None:
    result = make_result()
    fixed = apply_fixes(result.config.space, result.records[2].job.recipe.to_dict())
    result.config = result.config.model_copy(update={"space": fixed})
    assert "as many trials again" not in printed(result)


def test_a_server_that_was_down_is_a_warning_with_a_command(make_result) -> None:
    down = SimpleNamespace(
        uri="http://gone:1", link=None, warning="not everything was sent", n_unsent=7
    )
    text = printed(make_result(tracking=down, registered=None))
    assert line(text, "Warning:") == "Warning: not everything was sent"
    assert line(text, "MLflow:") == "MLflow: http://gone:1"
    assert "energytune sync '/runs/digits one'" in text
    assert "the 7 entries" in text
    assert "Model:" not in text


def test_an_interrupted_search_tells_what_it_has(make_result) -> None:
    text = printed(make_result(interrupted=True, confirmations=[], registered=None))
    assert "Test accuracy: not measured, interrupted." in text
    assert "Test accuracy over" not in text
    assert "goes on with this search" in text


def test_a_search_without_a_winner_says_so(make_result) -> None:
    failed = [trial(0, (), state="FAIL", reason="nan")]
    result = make_result(
        winner=None, records=failed, confirmations=[], baselines={}, registered=None
    )
    text = printed(result)
    assert "there is no winner" in text
    assert "1 failed" in text
    assert json.loads(to_json(summarise(result, OPTIONS)))["winner"] is None


def test_json_holds_the_same(make_result) -> None:
    document = json.loads(to_json(summarise(make_result(), OPTIONS)))
    winner = document["winner"]
    assert winner["number"] == 2
    assert winner["recipe"] == {
        "tau": 8,
        "head_arch": "mlp",
        "label_smoothing": 0.1,
        "reinit_depth": 0,
        "ft_lr": 0.30000000000000004,
    }
    assert winner["test_acc"] == pytest.approx(0.9)
    assert winner["test_acc_by_seed"] == {"1": 0.88, "2": 0.90, "3": 0.92}
    assert winner["command"].startswith("energytune search --dataset digits")
    zero, largest = document["baselines"]
    assert (zero["name"], zero["number"], zero["n_pairs"]) == ("tau=0", 0, 3)
    assert zero["difference"] == pytest.approx(0.05)
    assert zero["difference_interval"][0] < 0.05 < zero["difference_interval"][1]
    assert zero["difference_in_seed_deviations"] == pytest.approx(5 / math.sqrt(12 / 5))
    assert largest["n_failed_confirmations"] == 1
    assert document["costs"]["ft_epochs"] == 8
    assert document["costs"]["n_duplicates"] == 1
    assert document["registered"]["is_champion"] is True
    assert document["tracking"]["n_unsent"] == 0


def test_json_of_trials_has_null_for_what_is_missing(make_result) -> None:
    trials = json.loads(to_json(summarise(make_result(), OPTIONS)))["trials"]
    assert [t["number"] for t in trials] == [0, 1, 2, 3, 4, 5]
    assert trials[2]["best_epoch"] == 2
    assert isinstance(trials[2]["best_epoch"], int | float)
    assert trials[4]["aie"] is trials[4]["best_epoch"] is trials[4]["duplicate_of"] is None
    assert trials[5]["duplicate_of"] == 1


def test_json_has_no_nan(make_result) -> None:
    text = to_json(summarise(make_result(confirmations=[], registered=None), OPTIONS))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    document = json.loads(text, parse_constant=refuse)
    assert document["winner"]["test_acc"] is None
    assert document["registered"] is None
