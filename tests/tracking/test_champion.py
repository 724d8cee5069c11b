from __future__ import annotations

import itertools

import pytest
from scipy.stats import binomtest

from energytune.tracking.champion import Candidate, compare, fold_champion, mcnemar

N = 100


def version(number: int, n_right: int, *, protocol: str = "p", shift: int = 0) -> Candidate:
    """Right on ``n_right`` examples from ``shift`` on: nested, so all differences are one-sided."""
    right = tuple(shift <= i < shift + n_right for i in range(N))
    return Candidate(number, n_right / N, protocol, right)


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0, 0), (1, 0), (5, 0), (6, 0), (12, 3), (3, 12), (9, 9), (9, 10), (400, 330)],
)
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    new = [True] * gained + [False] * lost + [True] * 5 + [False] * 5
    old = [False] * gained + [True] * lost + [True] * 5 + [False] * 5
    n = gained + lost
    p_value = binomtest(gained, n, 0.5).pvalue if n else 1.0
    assert mcnemar(new, old) == (gained, lost, pytest.approx(p_value, rel=1e-9))


CASES = {
    "first version": ([version(1, 50)], 1),
    "clearly better": ([version(1, 50), version(2, 70)], 2),
    "five gained, none lost is no evidence (p = 0.0625)": ([version(1, 50), version(2, 55)], 1),
    "six gained, none lost is evidence (p = 0.031)": ([version(1, 50), version(2, 56)], 2),
    "equal": ([version(1, 50), version(2, 50)], 1),
    "worse": ([version(1, 70), version(2, 50)], 1),
    "small steps do not add up": ([version(1, 50), version(2, 53), version(3, 55)], 1),
    "third beats the first": ([version(1, 50), version(2, 53), version(3, 60)], 3),
    "chain of two": ([version(1, 50), version(2, 60), version(3, 70)], 3),
    "as many right, on other examples": ([version(1, 50), version(2, 50, shift=50)], 1),
    "another protocol is passed over": ([version(1, 50), version(2, 90, protocol="q")], 1),
    "only another protocol": ([version(1, 50, protocol="q")], None),
    "none": ([], None),
    "no record of the examples": ([version(1, 50), Candidate(2, 0.9, "p", None)], 1),
    "another number of examples": ([version(1, 50), Candidate(2, 1.0, "p", (True,) * 7)], 1),
}


@pytest.mark.parametrize(("versions", "champion"), CASES.values(), ids=CASES)
def test_fold(versions: list[Candidate], champion: int | None) -> None:
    for order in itertools.permutations(versions):
        assert fold_champion(order, "p")[0] == champion


def test_the_decision_tells_numbers() -> None:
    _, steps = fold_champion([version(1, 50), version(2, 53), version(3, 60)], "p")
    assert "becomes champion" in steps[1].text
    assert steps[2].text.startswith("Not enough evidence that v2 beats champion v1")
    assert (steps[2].n_gained, steps[2].n_lost, steps[2].n_test) == (3, 0, N)
    assert steps[3].wins
    assert steps[3].p_value == pytest.approx(2 / 2**10)
    assert "takes over from v1" in steps[3].text
    assert steps[3].to_dict()["champion"] == 1


def test_why_two_versions_cannot_be_compared() -> None:
    assert "another protocol (q; p)" in compare(version(2, 9, protocol="q"), version(1, 9)).text
    assert "stays champion" in compare(version(2, 40), version(1, 60)).text
