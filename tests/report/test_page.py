from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from energytune.config import SearchSpace
from energytune.report.inputs import Reproduction
from energytune.report.intervals import wilson_interval
from energytune.report.page import render_page
from energytune.trial import TestResult, TrialRecord
from tests.report.hand_made import (
    of_test,
    small_confirmation,
    small_search,
    snapshot,
    stopped,
    trial,
)
from tests.report.pages import FIGURES, Shares, read, space, table, whole


def test_everything_that_is_promised_has_its_place() -> None:
    page = read(render_page(whole()))
    assert [h.content for h in page.all("h2")] == [
        "Outcome",
        "Energy",
        "Recipes",
        "Finetuning",
        "Cost, and what was stopped",
        "Advice from the user guide",
        "Do it again",
    ]
    assert [f.attrs["id"] for f in page.all("figure")] == [f"fig-{key}" for key in FIGURES]
    for words in ("importance", "stages"):
        assert page.one("h3", id=words).content


def test_the_outcome_is_told_with_its_numbers() -> None:
    page = read(render_page(whole()))
    ends = wilson_interval(0.9, 100)
    told = page.one("p", class_="verdict").content
    assert "t002 (mlp tau=8 ls=0.1 lr=0.3): 90.0 % test accuracy" in told
    assert f"95 % interval {100 * ends.low:.1f} to {100 * ends.high:.1f} % over 100" in told
    half = 100 * 0.01 / math.sqrt(3) * 0.95 / math.sqrt(2 * 0.975 * 0.025)
    assert f"plain finetuning (tau=0): +5.0 [{5 - half:+.1f}, {5 + half:+.1f}] points." in told
    assert "may be chance (2 of 3 seeds)" in told
    rows = {row[0]: row for row in table(page, "Test accuracy of the winner")}
    assert rows["winner"][1:5] == [
        "t002",
        "90.0 %",
        f"{100 * ends.low:.1f} to {100 * ends.high:.1f} %",
        "88.0 90.0 92.0",
    ]
    assert rows["plain finetuning (tau=0)"][4] == "84.0 85.0 86.0"
    assert rows["probing to convergence (tau=max)"][4] == "89.0 91.0 (1 failed)"
    tiles = {
        d.one("dt").content: d.one("dd").content for d in page.one("dl", class_="tiles").children
    }
    assert tiles["points over tau=0"].startswith("+5.0")
    assert tiles["wall-clock time"].startswith("1:15 min")


def test_the_race_and_the_seed_noise_are_told() -> None:
    page = read(render_page(whole()))
    rows = table(page, "Recipes by mean FT-valid-acc")
    assert rows[1][:4] == ["t002", "mlp tau=8 ls=0.1 lr=0.3", "90.0 %", "3"]
    assert [row[4] for row in rows[1:]] == ["winner", "beaten: 5.0 points behind t002"]
    assert "by 1.2 points (standard deviation" in page.content


def test_the_tables_hold_what_the_figures_show() -> None:
    page = read(render_page(whole()))
    energy = table(page, "FT-valid-acc and AIE of complete trials")
    assert energy[1] == ["t002", "mlp tau=8 ls=0.1 lr=0.3", "8", "0.1111", "90.0 %"]
    head = table(page, "Energy left (AIE) and HP-train-acc by tau")
    assert head[0][:3] == ["head", "tau 0", "tau 1"]
    assert head[1][:3] == ["linear", "1.000, 10 %", "0.500, 55 %"]
    curves = table(page, "The named curves")
    assert ["t002", "mlp tau=8 ls=0.1 lr=0.3", "3", "2", "90.0 %", "80.0 %"] in curves
    moved = table(page, "Adaptation metrics")
    assert moved[0] == ["", "winner", "tau=0", "tau=max"]
    assert moved[1][1].startswith("1.5")


def test_importance_and_cost_have_their_numbers_beside_the_bars() -> None:
    page = read(render_page(whole()))
    bars = page.one("table", **{"aria-labelledby": "importance"})
    texts = [(r.one("th").content, r.one("td", class_="num").content) for r in bars.all("tr")[1:]]
    assert texts[0] == ("tau", "60 % (40 to 80)")
    stages = page.one("table", **{"aria-labelledby": "stages"}).content
    assert "energy map (HP of all its heads) 3.0 s" in stages
    rows = dict(row[:2] for row in table(page, "Trials and epochs"))
    assert rows["trials"] == (
        "3 complete, 1 pruned or paused for good, 1 failed, 1 repeated and not run again"
    )
    assert rows["HP epochs"].startswith("45 run of 88 wanted (49 % saved")


def test_what_was_stopped_is_told_with_its_reason() -> None:
    many = [
        *small_search(),
        stopped(6),
        stopped(7, 50),
        trial(8, (0.5,), state="PRUNED", reason="paused at epoch 16: 3 of 4 others better"),
        trial(9, (0.5,), state="PRUNED", reason="paused at epoch 64: 1 of 2 others better"),
    ]
    page = read(render_page(whole(records=many)))
    rows = {row[0]: row[1:] for row in table(page, "Trials that did not run")[1:]}
    assert rows["paused for good"] == [
        "2",
        "paused at epoch 16: 3 of 4 others better",
        "t008, t009",
        "2",
    ]
    assert rows["pruned"][1] == "energy [spent]: same start as t001"
    assert rows["failed"][1] == "TrialFailure: loss is nan"
    assert rows["stopped by itself"][0] == "2"


def test_how_to_do_it_again_is_there_word_for_word() -> None:
    page = read(render_page(whole()))
    again = page.one("section", id="again")
    assert [c.content for c in again.all("code")] == [
        "energytune search --dataset digits --seed 0 --trials 5",
        "energytune search --dataset digits --fix tau=8",
    ]
    assert ["backbone weights, sha256", "ab" * 32] in table(page, "What this search ran on")
    assert again.one("a").attrs["href"] == "http://127.0.0.1:5000/#/experiments/1"
    advice = page.one("section", id="advice").content
    assert "spent-energy confidence: medium" in advice
    assert "Source: Ren et al. 2023, section 5.1" in advice


# What is missing is said to be missing


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "interrupted"}, "interrupted after 5 of 5 trials"),
        ({"state": "running", "n_waiting": 4}, "4 more are running or paused"),
        ({"confirmations": []}, "Test was not read: no run of the winner"),
        ({"confirmations": [], "state": "interrupted"}, "interrupted before"),
        ({"confirmations": [], "state": "running"}, "not read yet"),
        ({"map_rows": []}, "no head was probed"),
        ({"map_rows": [], "findings": []}, "There is no energy map to read"),
        ({"findings": []}, "No rule of the user guide speaks"),
        ({"seconds": {}}, "the search has not ended, or its clock"),
        ({"facts": []}, "Not recorded"),
        ({"seed_noise": None}, "Seed deviation: not measured"),
        ({"baselines": {}}, "not compared: plain finetuning (tau=0) and probing to convergence"),
        ({"importances": Shares({}, {}, 3, 0, "it takes 10 trials")}, "it takes 10 trials"),
        ({"reproduction": Reproduction(notes=("Objects.",))}, "No command can run this search"),
        ({"notes": ("2 lines were torn.",)}, "2 lines were torn."),
    ],
)
def test_what_was_not_measured_is_said(changes: dict[str, Any], words: str) -> None:
    assert words in read(render_page(whole(**changes))).content


def test_a_winner_whose_further_runs_failed_is_told() -> None:
    failed = [replace(r, state="FAIL", finished=None) for r in small_confirmation()]
    assert "3 runs of the winner on further seeds failed" in render_page(
        whole(confirmations=failed)
    )


@pytest.mark.parametrize(
    "records",
    [[], [trial(0, (), state="FAIL", reason="nan")], [trial(0, (0.5,), tau=0)]],
    ids=["none", "one that failed", "one that is complete"],
)
def test_there_is_a_page_for_any_number_of_trials(records: list[TrialRecord]) -> None:
    complete = next((r for r in records if r.objective is not None), None)
    changes = {"baselines": {}, "confirmations": [], "confirmed": [], "map_rows": []}
    page = read(render_page(whole(records=records, winner=complete, **changes)))
    text = page.content
    assert ("No trial is complete, so there is no winner yet." in text) == (complete is None)
    assert ("No trial has run yet" in text) == (not records)


def test_a_baseline_that_won_is_told_and_not_compared_with_itself() -> None:
    told = read(render_page(whole(winner=small_search()[0]))).one("p", class_="verdict").content
    assert "It is plain finetuning (tau=0) itself." in told


@pytest.mark.parametrize(("metric", "name"), [("roc_auc", "ROC-AUC"), ("miou", "mIoU")])
def test_other_metrics_have_their_names(metric: str, name: str) -> None:
    page = render_page(whole(metric=metric, findings=[]))
    text = read(page).content
    assert f"90.0 % test {name}" in text
    assert f"FT-valid-{name}" in text
    assert f"HP-train-{name}" in text
    assert "accuracy" not in text.lower()
    assert "valid-acc" not in text
    rows = {row[0]: row for row in table(read(page), f"Test {name} of the winner")}
    assert rows["winner"][3] == "-"  # no interval of a share


def test_the_winner_is_drawn_where_it_is(space_of_a_page: SearchSpace) -> None:
    root = read(render_page(whole(space=space_of_a_page)))
    for key in ("tau", "energy"):
        figure = root.one("figure", id=f"fig-{key}")
        assert any("winner, t002" in li.content for li in figure.all("li"))
        assert len(figure.all("path", class_="ring c6")) == 2  # one in the legend


@pytest.fixture
def space_of_a_page() -> SearchSpace:
    return space()


def test_test_results_that_were_read_later_count() -> None:
    confirmations = small_confirmation()
    tested = [of_test(r) for r in confirmations if r.state == "COMPLETE"]
    assert all(isinstance(r.finished.test, TestResult) for r in tested if r.finished)
    assert "90.0 % test accuracy" in render_page(whole(confirmations=confirmations))


def test_numbers_that_are_not_finite_are_left_out() -> None:
    nan = math.nan
    probe = replace(snapshot(8), aie=nan, train_acc=nan)
    broken = trial(6, (0.4, nan, 0.5), tau=8)
    broken = replace(broken, snapshots=(*broken.snapshots[:-1], probe))
    rows = [{**row, "aie": nan} if row["tau"] == 8 else row for row in whole().map_rows]
    page = render_page(whole(records=[*small_search(), broken], map_rows=rows))
    for figure in read(page).all("figure"):
        for path in figure.all("path"):
            assert "nan" not in path.attrs["d"]
            assert "inf" not in path.attrs["d"]
