from __future__ import annotations

import pytest

from benchmarks.false_prunes import false_prune_lines, judge, rule_of
from benchmarks.tabular.method import Ended, Trace
from tests.benchmarks.hand_made import ORDER, by_tau, hand_made_table, rising

RETURNED, NEAR, BETTER, FAR = (by_tau(tau) for tau in (4, 32, 128, 512))
AT = {recipe: ORDER.index(recipe) for recipe in (RETURNED, NEAR, BETTER, FAR)}
TABLE = hand_made_table(
    {RETURNED: rising(0.6), NEAR: rising(0.9), BETTER: [0.95] * 9, FAR: rising(0.5)},
    {RETURNED: 0.80, NEAR: 0.795, BETTER: 0.82, FAR: 0.3},
)
TABLE.__dict__["seed_deviation"] = 0.01
TRACE = Trace(
    ft_epochs=[10],
    seconds=[1.0],
    place=[AT[RETURNED]],
    ended=[
        Ended(AT[RETURNED], "complete", 100),
        Ended(AT[NEAR], "paused", 8),
        Ended(AT[BETTER], "redundant", 0, "redundant: ..."),
        Ended(AT[FAR], "early", 40),
    ],
)
NAMES = ("false_prunes", "better", "clearly_better", "would_be_returned")


def test_each_rule_is_judged_by_what_the_recipe_would_have_come_to() -> None:
    lines = {line["rule"]: line for line in false_prune_lines([judge(TABLE, 0, TRACE)])}
    answers = {rule: [line[name] for name in NAMES] for rule, line in lines.items()}
    assert answers["paused at 8"] == [1, 0, 0, 1]
    assert answers["redundant"] == [1, 1, 1, 0]  # its own finetune diverges
    assert answers["early"] == [0, 0, 0, 0]
    assert answers["all prunes"] == [1, 0.5, 0.5, 0.5]
    assert answers["all recipes"] == pytest.approx([2 / 251, 1 / 251, 1 / 251, 1 / 251], abs=1e-4)
    assert "complete" not in answers  # the returned recipe is what all are compared with
    assert (lines["all prunes"]["n"], lines["all prunes"]["n_a_search"]) == (2, 2.0)


def test_counts_are_means_over_searches() -> None:
    lines = false_prune_lines([judge(TABLE, 0, TRACE)] * 3 + [[]])
    line = next(line for line in lines if line["rule"] == "early")
    assert (line["n"], line["n_a_search"]) == (3, 0.75)


def test_a_search_that_found_nothing_is_not_judged() -> None:
    assert judge(TABLE, 0, Trace()) == []
    assert judge(TABLE, 0, Trace([1, 2], [1.0, 2.0], [3, -1])) == []


def test_a_pause_is_named_by_its_epoch() -> None:
    assert rule_of(Ended(0, "paused", 24)) == "paused at 24"
    assert rule_of(Ended(0, "collapsed", 0)) == "collapsed"
