from __future__ import annotations

import numpy as np
import pytest

from benchmarks.choose_best import _choice, _losses
from tests.benchmarks.hand_made import by_tau, hand_made_table, rising


@pytest.mark.parametrize(("margin_se", "chosen"), [(0.0, 0), (0.5, 1), (np.inf, 2)])
def test_the_lowest_loss_within_the_margin(margin_se: float, chosen: int) -> None:
    # Half a standard error of 0.8 on 100 images is 0.02.
    accuracy, loss = np.array([0.8, 0.78, 0.5]), np.array([0.9, 0.8, 0.7])
    assert _choice(accuracy, loss, margin_se, 100) == chosen


def test_what_a_choice_loses_against_the_best_of_all() -> None:
    good, lucky = by_tau(4), by_tau(32)
    table = hand_made_table({lucky: rising(0.9)}, {good: 0.8, lucky: 0.7})
    losses = _losses(table, 0, 252)
    # All are drawn, so each draw chooses the same: the lucky one, or by the loss any of equals.
    assert losses[:, 0] == pytest.approx(10.0)
