from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.machine import RESULTS
from benchmarks.search_table import BEGIN, END, README, table, with_table
from benchmarks.tabular.peers import OURS, REFERENCE


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def ends(name: str, value: float) -> dict[str, object]:
    return {name: value, f"{name}_low": value - 1, f"{name}_high": value + 1}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    stem = "search_efficiency-heldout"
    units = {"ft_epochs": (100, 1600), "finetunes": (5, 40)}
    regret = [
        {"method": m, "unit": u, "budget": b, "regret": r} | ends("minus_reference", r - 2)
        for u, budgets in units.items()
        for b in budgets
        for m, r in ((REFERENCE, 2.0), (OURS, 0.5), ("another", 9.0))
    ]
    without = "energytune - energy features"
    ablation = [
        {"method": without, "unit": u, "budget": b, "regret": 0.75} | ends("minus_reference", 0.25)
        for u, budgets in units.items()
        for b in budgets
    ]
    ratio = [
        {"method": OURS, "unit": u, "reference_budget": b, "cost": cost, "most_worse": 0.25}
        | ends("times_cheaper", 4.0)
        | ends("times_cheaper_alike", 2.0)
        for u, budgets in units.items()
        for b, cost in zip(budgets, (25.0, ""), strict=True)
    ]
    reach = [
        {"method": m, "unit": "ft_epochs", "cap": 1600, "cost": c, "share_never": s}
        | ends("times_cheaper", 1.5)
        for m, c, s in ((OURS, 500, 0.25), (REFERENCE, 750, 0.5))
    ]
    prunes = [
        {"rule": "all prunes", "false_prunes": 0.3, "would_be_returned": 0.004},
        {"rule": "all recipes", "false_prunes": 0.25, "would_be_returned": 0.1},
    ]
    write(tmp_path / f"{stem}-regret.csv", regret)
    write(tmp_path / f"{stem}-reach.csv", reach)
    write(tmp_path / f"{stem}-ratio.csv", ratio)
    write(tmp_path / f"{stem}-ablation.csv", ablation)
    write(tmp_path / "false_prunes-heldout.csv", prunes)
    return tmp_path


def test_the_table_has_our_row_first_and_says_never(results: Path) -> None:
    lines = table(results).splitlines()
    assert lines[0] == "| points below the best recipe after ... finetuning epochs | 100 | 1,600 |"
    assert lines[2] == "| **energytune** | 0.50 | 0.50 |"
    assert lines[3] == "| TPE + ASHA, tuned | 2.00 | 2.00 |"
    assert lines[4].endswith("| -1.50 [-2.50, -0.50] | -1.50 [-2.50, -0.50] |")
    assert lines[5] == (
        "| without energy minus energytune | +0.25 [-0.75, +1.25] | +0.25 [-0.75, +1.25] |"
    )
    assert "| energytune's finetuning epochs | 25 | never |" in lines
    assert "| times cheaper | 4.00 [3.00, 5.00] | 4.00 [3.00, 5.00] |" in lines
    assert "9.00" not in "\n".join(lines)
    for told in (
        "reached at 100, 1,600, missed at no budget.",
        "From 100 finetuning epochs on energytune is at most 0.25 points worse at every budget.",
        "0.4 % would have been",
        "30.0 % come",
        "25.0 % of all",
    ):
        assert told in lines[-3]
    assert "takes 500 finetuning epochs on average against 750 of" in lines[-1]
    assert "(1.50 [0.50, 2.50] times cheaper); 25.0 % of the searches against 50.0 %" in lines[-1]


def test_it_replaces_what_stands_between_the_marks() -> None:
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(readme, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_the_readme_has_what_the_committed_results_say() -> None:
    assert with_table(README.read_text(), table(RESULTS)) == README.read_text()
