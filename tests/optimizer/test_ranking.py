from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.optimizer.ranking import ranked, tied_margin

ends = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 40), st.integers(0, 9).map(float)), max_size=12
)


def test_the_margin_is_half_a_standard_error_of_a_share() -> None:
    assert tied_margin(0.9, 400) == pytest.approx(0.5 * math.sqrt(0.9 * 0.1 / 400))
    assert tied_margin(0.5, 100, 2.0) == pytest.approx(0.1)


@pytest.mark.parametrize(("accuracy", "n_valid"), [(0.0, 100), (1.0, 100), (0.5, None)])
def test_no_margin_at_the_ends_or_without_a_number_of_images(
    accuracy: float, n_valid: int | None
) -> None:
    assert tied_margin(accuracy, n_valid) == 0.0


def test_a_near_tie_goes_to_the_lower_loss() -> None:
    # 0.5 sqrt(0.9 * 0.1 / 400) is 0.0075
    assert ranked([(0.9, 0.5), (0.895, 0.4), (0.89, 0.1)], 400) == [1, 0, 2]
    assert ranked([(0.9, 0.5), (0.895, 0.4), (0.89, 0.1)], 100) == [2, 1, 0]
    assert ranked([(0.9, 0.5), (0.895, 0.4), (0.89, 0.1)]) == [0, 1, 2]


def test_exact_ties_go_to_the_lower_loss_then_to_the_earlier() -> None:
    assert ranked([(0.9, 0.5), (0.9, 0.4), (0.9, 0.4)]) == [1, 2, 0]


def test_nothing_is_ranked_as_nothing() -> None:
    assert ranked([], 100) == []


@given(ends, st.sampled_from([None, 10, 400]))
def test_it_is_what_choosing_one_by_one_gives(
    ends: list[tuple[float, float]], n_valid: int | None
) -> None:
    left, chosen = list(range(len(ends))), []
    while left:
        top = max(ends[i][0] for i in left)
        tied = [i for i in left if ends[i][0] >= top - tied_margin(top, n_valid) - 1e-9]
        best = min(tied, key=lambda i: (ends[i][1], -ends[i][0], i))
        chosen.append(best)
        left.remove(best)
    assert ranked(ends, n_valid) == chosen
