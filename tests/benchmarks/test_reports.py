from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tabular.regret_figure import regret_figure
from benchmarks.tabular.reports import (
    Results,
    cost_lines,
    ratio_lines,
    reach_lines,
    regret_lines,
)
from benchmarks.tabular.runs import read_rows, write_rows
from tests.benchmarks.hand_made import ORDER, by_tau, hand_made_table

BEST, FAIR, BAD = by_tau(4), by_tau(32), by_tau(128)
TABLE = hand_made_table({}, {BEST: 0.9, FAIR: 0.88, BAD: 0.5})
TABLE.__dict__["seed_deviation"] = 0.01
FINETUNE_S = 200.0


def row(method: str, repeat: int, ft_epochs: list[int], recipes: list[Any]) -> dict[str, Any]:
    return {
        "method": method,
        "task": "digits-mlp",
        "repeat": repeat,
        "ft_epochs": ft_epochs,
        "seconds": [FINETUNE_S * epochs / 50 for epochs in ft_epochs],
        "place": [ORDER.index(recipe) for recipe in recipes],
        "total_ft_epochs": 1600,
        "total_seconds": FINETUNE_S * 32,
        "n_trials": 20,
    }


ROWS = [
    row("theirs", 0, [10, 400], [BAD, BEST]),
    row("theirs", 1, [10, 400], [BAD, BEST]),
    row("ours", 0, [10, 100], [BAD, BEST]),
    row("ours", 1, [10, 100], [BAD, BEST]),
    row("never", 0, [10], [FAIR]),
]
RESULTS = Results([TABLE], ROWS)


def of(lines: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [line for line in lines if all(line[k] == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_regret_at_budgets_and_against_the_reference() -> None:
    lines = regret_lines(RESULTS, "theirs")
    line = of(lines, method="ours", unit="ft_epochs", budget=200)
    assert (line["regret"], line["regret_low"], line["regret_high"]) == (0.0, 0.0, 0.0)
    assert line["minus_reference"] == pytest.approx(-40.0)
    assert (line["n_tasks"], line["n_repeats"]) == (1, 2)
    assert of(lines, method="theirs", unit="ft_epochs", budget=200)["regret"] == pytest.approx(40)
    # 100 epochs cost two whole finetunes here.
    assert of(lines, method="ours", unit="finetunes", budget=5)["regret"] == 0.0
    assert of(lines, method="theirs", unit="finetunes", budget=5)["regret"] == pytest.approx(40)
    # A method with fewer repeats is compared on those that both have.
    line = of(lines, method="never", unit="ft_epochs", budget=1600)
    assert (line["minus_reference"], line["n_repeats"]) == (pytest.approx(2.0), 1)


def test_reach_counts_what_never_comes_with_the_cap() -> None:
    lines = reach_lines(RESULTS, "theirs")
    ours = of(lines, method="ours", unit="ft_epochs")
    assert (ours["cost"], ours["share_never"], ours["times_cheaper"]) == (100, 0.0, 4.0)
    never = of(lines, method="never", unit="ft_epochs")
    assert (never["cost"], never["share_never"], never["times_cheaper"]) == (1600, 1.0, 0.25)


def test_ratio_finds_the_cheapest_budget_that_is_as_good() -> None:
    lines = ratio_lines(RESULTS, "theirs")
    line = of(lines, method="ours", unit="ft_epochs", reference_budget=400)
    assert (line["cost"], line["times_cheaper"]) == (100, 4.0)
    assert (line["times_cheaper_low"], line["times_cheaper_high"]) == (4.0, 4.0)
    assert line["most_worse"] == 0.0
    never = of(lines, method="never", unit="ft_epochs", reference_budget=400)
    assert (never["cost"], never["times_cheaper"]) == (None, 0.0)
    never = of(lines, method="never", unit="ft_epochs", reference_budget=100)
    assert (never["cost"], never["times_cheaper"]) == (10, 10.0)
    assert never["most_worse"] == pytest.approx(2.0)
    assert of(lines, method="theirs", unit="ft_epochs", reference_budget=400)["times_cheaper"] == 1


def test_a_reference_that_gets_no_better_is_not_said_to_need_its_whole_budget() -> None:
    line = of(
        ratio_lines(RESULTS, "theirs"), method="ours", unit="ft_epochs", reference_budget=1600
    )
    assert (line["cost"], line["reference_cost"]) == (100, 400)
    assert (line["times_cheaper"], line["times_cheaper_alike"]) == (16.0, 4.0)


def test_without_the_reference_there_is_nothing_to_compare() -> None:
    assert ratio_lines(RESULTS, "none such") == []
    assert "minus_reference" not in regret_lines(RESULTS, "none such")[0]


def test_a_method_that_lacks_a_task_is_left_out() -> None:
    other = hand_made_table({}, {BEST: 0.9}, task="digits-cnn")
    rows = [*ROWS, ROWS[0] | {"task": "digits-cnn"}]
    results = Results([TABLE, other], rows)
    assert results.tasks == ["digits-mlp", "digits-cnn"]
    assert results.methods == ["theirs"]
    assert (results.n_repeats("theirs"), results.n_repeats("ours")) == (1, 0)


def test_costs_are_means_over_searches() -> None:
    line = of(cost_lines(RESULTS), method="ours")
    assert line == {
        "method": "ours",
        "n_searches": 2,
        "n_trials": 20.0,
        "ft_epochs": 1600.0,
        "finetunes": 32.0,
    }


def test_rows_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    assert read_rows(path) == []
    write_rows(path, ROWS[::-1])
    assert read_rows(path) == [*ROWS[4:], *ROWS[2:4], *ROWS[:2]]
    before = path.read_bytes()
    write_rows(path, ROWS)
    assert path.read_bytes() == before


def test_the_figure_shows_each_known_method_once() -> None:
    renamed = [r | {"method": "energytune" if r["method"] == "ours" else "tpe"} for r in ROWS[1:4]]
    figure = regret_figure(Results([TABLE], [*renamed[1:], renamed[0] | {"repeat": 0}]))
    assert [line.get_label() for line in figure.axes[0].lines] == ["energytune", "tpe"]
    assert len(figure.axes[0].collections) == 1
