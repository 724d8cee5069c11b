from __future__ import annotations

import pytest

from benchmarks.patience import effect, patience_lines, recommended, top_tenth
from tests.benchmarks.hand_made import ORDER, by_tau, hand_made_table, rising

LATE, FAILED = by_tau(4), by_tau(32)
AT = ORDER.index(LATE)


def late_table():  # type: ignore[no-untyped-def]
    """All curves stand still from epoch 1, but one that gets better once more at epoch 31."""
    table = hand_made_table({LATE: [0.5] * 30 + [0.6] * 70, FAILED: rising(0.9)[:50]})
    table.test_acc[0, AT, :30] = 0.7
    table.test_acc[0, AT, 30:] = 0.9
    return table


@pytest.mark.parametrize(
    ("patience", "lost", "end"), [(0.1, 0.2, 11), (0.29, 0.2, 30), (0.3, 0.0, 61), (None, 0.0, 100)]
)
def test_effect_of_a_patience(patience: float | None, lost: float, end: int) -> None:
    losses, saved = effect(late_table(), patience)
    assert losses[0, AT] == pytest.approx(lost)
    assert saved[0, AT] == pytest.approx(1 - end / 100)


def test_a_finetune_that_diverged_says_nothing() -> None:
    losses, saved = effect(late_table(), 0.2)
    place = ORDER.index(FAILED)
    assert losses[0, place] != losses[0, place]
    assert saved[0, place] != saved[0, place]


def test_lines_of_all_recipes_and_of_the_better_tenth() -> None:
    table = late_table()
    every, best = patience_lines([table], 0.2)
    assert every["lost_points"] == pytest.approx(100 * 0.2 / 251, abs=1e-4)
    assert best["lost_points"] == pytest.approx(100 * 0.2 / 25, abs=1e-4)
    assert (every["recipes"], best["recipes"]) == ("all", "top tenth")
    assert top_tenth(table)[0] == AT
    assert len(top_tenth(table)) == 25


def test_the_smallest_patience_that_loses_little_on_the_better_tenth() -> None:
    def line(patience: object, recipes: str, lost: float) -> dict[str, object]:
        return {"patience": patience, "recipes": recipes, "lost_points": lost}

    lines = [
        line(0.1, "top tenth", 0.1),
        line(0.2, "top tenth", 0.09),
        line(0.2, "all", 5.0),
        line(0.3, "top tenth", 0.0),
        line("none", "top tenth", 0.0),
    ]
    assert recommended(lines) == 0.2
    assert recommended([line("none", "top tenth", 0.0)]) is None
