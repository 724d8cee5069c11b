"""The fold over versions and promotions: pure, on hand-made evidence of accuracies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tracking.champion import Promotion, fold_champion
from energytune.tracking.comparison import Candidate, Comparison, compare, level_of

N = 100


def version(number: int, n_right: int, *, protocol: str = "p", shift: int = 0) -> Candidate:
    """Right on ``n_right`` examples from ``shift`` on: nested, so all differences are one-sided."""
    right = tuple(shift <= i < shift + n_right for i in range(N))
    evidence = evidence_of_correct(right)
    return Candidate(number, n_right / N, protocol, evidence, uid=f"run {number}")


def by_hand(kind: str, number: int, latest: int) -> Promotion:
    return Promotion(kind, number, None, latest, "me", latest)  # type: ignore[arg-type]


CASES = {
    "first version": ([version(1, 50)], 1),
    "clearly better": ([version(1, 50), version(2, 70)], 2),
    "six gained, none lost is no evidence (p = 0.031 >= 0.025)": (
        [version(1, 50), version(2, 56)],
        1,
    ),
    "seven gained, none lost is evidence (p = 0.016)": ([version(1, 50), version(2, 57)], 2),
    "as the second challenger it is not (level 0.0083)": (
        [version(1, 50), version(2, 50), version(3, 57)],
        1,
    ),
    "equal": ([version(1, 50), version(2, 50)], 1),
    "worse": ([version(1, 70), version(2, 50)], 1),
    "small steps do not add up": ([version(1, 50), version(2, 53), version(3, 55)], 1),
    "third beats the first": ([version(1, 50), version(2, 53), version(3, 60)], 3),
    "chain of two": ([version(1, 50), version(2, 60), version(3, 70)], 3),
    "as many right, on other examples": ([version(1, 50), version(2, 50, shift=50)], 1),
    "another protocol is passed over": ([version(1, 50), version(2, 90, protocol="q")], 1),
    "the first version's protocol counts": (
        [version(1, 50, protocol="q"), version(2, 90), version(3, 60, protocol="q")],
        3,
    ),
    "none": ([], None),
    "only a version of somebody else's": ([Candidate(1, float("nan"), "")], None),
    "no record of the examples": ([version(1, 50), Candidate(2, 0.9, "p")], 1),
    "another number of examples": (
        [version(1, 50), Candidate(2, 1.0, "p", evidence_of_correct((True,) * 7))],
        1,
    ),
    "one run twice is one challenger": (
        [version(1, 50), version(2, 50), replace(version(3, 50), uid="run 2"), version(4, 59)],
        4,
    ),
}


@pytest.mark.parametrize(("versions", "champion"), CASES.values(), ids=CASES)
def test_fold(versions: list[Candidate], champion: int | None) -> None:
    for order in itertools.permutations(versions):
        assert fold_champion(order).champion == champion


def test_what_was_not_compared_spends_nothing() -> None:
    others = [version(n, 90, protocol="q") for n in range(2, 9)]
    steps = fold_champion([version(1, 50), *others, version(9, 57)]).steps
    assert [steps[n].n_challengers for n in (1, 2, 8, 9)] == [0, 0, 0, 1]
    assert steps[9].level == 0.025
    assert steps[9].wins


def test_levels_add_up_to_alpha_and_never_above() -> None:
    levels = np.cumsum([level_of(k, 0.05) for k in range(1, 10_001)])
    assert levels[-1] < 0.05
    assert levels[-1] == pytest.approx(0.05, rel=1e-3)


def accuracies(rng: np.random.Generator, n_models: int) -> list[Evidence]:
    """Models that are equally good on examples of different difficulty."""
    right = rng.random((n_models, 200)) < rng.random(200)
    return [evidence_of_correct(row.tolist()) for row in right]


def label_scores(rng: np.random.Generator, n_models: int) -> list[Evidence]:
    targets = (rng.random((40, 1)) < 0.4).astype(np.int8)
    noise = rng.normal(size=(n_models, 40, 1)) + rng.normal(size=(40, 1))
    return [Evidence("roc_auc", {"scores": targets + e, "targets": targets}) for e in noise]


def pixel_counts(rng: np.random.Generator, n_models: int) -> list[Evidence]:
    labelled = rng.integers(0, 50, (60, 3))
    found = []
    for _ in range(n_models):
        hits = rng.binomial(labelled, rng.beta(6, 3, (60, 1)))
        predicted = hits + rng.integers(0, 20, (60, 3))
        found.append(Evidence("miou", {"counts": np.stack([hits, predicted, labelled], 1)}))
    return found


@pytest.mark.parametrize(
    ("make", "n_lines", "n_challengers"),
    [(accuracies, 200, 30), (label_scores, 40, 6), (pixel_counts, 60, 8)],
)
def test_equally_good_models_take_over_less_often_than_alpha(
    make: Callable[[np.random.Generator, int], list[Evidence]], n_lines: int, n_challengers: int
) -> None:
    rng = np.random.default_rng(0)
    n_wrong = n_wrong_uncorrected = 0
    for _ in range(n_lines):
        line = [
            Candidate(i + 1, e.score(), "p", e) for i, e in enumerate(make(rng, n_challengers + 1))
        ]
        n_wrong += len(fold_champion(line).reigns) > 1
        if make is accuracies:
            n_wrong_uncorrected += any(compare(c, line[0], 1, 0.1).wins for c in line[1:])
    assert n_wrong <= binom.ppf(0.95, n_lines, 0.05)
    # each tested at 0.05, far more would: the simulation can tell
    assert make is not accuracies or n_wrong_uncorrected > binom.ppf(0.9999, n_lines, 0.05)


def test_a_promotion_begins_a_new_line() -> None:
    versions = [version(1, 50), version(2, 60), version(3, 40), version(4, 56), version(5, 70)]
    line = fold_champion(versions, [by_hand("promote", 3, latest=4)])
    assert line.reigns == (1, 2, 3, 5)
    # versions 1 to 4 are not played again; the fifth is the new line's first challenger
    assert (line.steps[4].champion, line.steps[4].n_challengers) == (2, 3)
    assert (line.steps[5].champion, line.steps[5].n_challengers) == (3, 1)
    assert fold_champion(versions[:4], [by_hand("promote", 3, latest=4)]).champion == 3


def test_a_promotion_may_change_the_protocol() -> None:
    versions = [version(1, 50), version(2, 40, protocol="q"), version(3, 60, protocol="q")]
    assert fold_champion(versions).champion == 1
    assert fold_champion(versions, [by_hand("promote", 2, latest=2)]).champion == 3


def test_nobody_is_compared_with_a_promoted_version_of_somebody_else() -> None:
    versions = [version(1, 50), Candidate(2, float("nan"), ""), version(3, 90)]
    line = fold_champion(versions, [by_hand("promote", 2, latest=2)])
    assert line.champion == 2
    assert "v2 was not registered by energytune" in line.steps[3].text


def test_rollbacks_go_back_one_by_one() -> None:
    versions = [version(1, 50), version(2, 60), version(3, 72)]
    back = by_hand("rollback", 2, latest=3)
    further = by_hand("rollback", 1, latest=3)
    assert fold_champion(versions).reigns == (1, 2, 3)
    assert fold_champion(versions, [back]).reigns == (1, 2)
    assert fold_champion(versions, [back, further]).reigns == (1,)
    assert fold_champion([*versions, version(4, 75)], [back]).reigns == (1, 2, 4)


def test_a_promotion_of_a_deleted_version_is_passed_over() -> None:
    assert fold_champion([version(1, 50)], [by_hand("promote", 7, latest=7)]).champion == 1


def test_the_decision_tells_numbers() -> None:
    steps = fold_champion([version(1, 50), version(2, 53), version(3, 60)]).steps
    assert "becomes champion" in steps[1].text
    assert steps[1].outcome == "first version"
    assert steps[2].text.startswith("Not enough evidence that v2 beats champion v1")
    assert steps[2].text.endswith(
        "It needs about 220 more test examples to see such a difference with a chance of 80 %."
    )
    # Connor's number, 314.2 with psi = d = 0.03, is rounded up at the end
    assert steps[2].n_more == 220
    test = steps[2].test
    assert test is not None
    assert (test.n_gained, test.n_lost, test.n_test) == (3, 0, N)
    assert steps[3].wins
    assert steps[3].outcome == "takes over"
    assert steps[3].n_more is None
    assert steps[3].test is not None
    assert steps[3].test.p_value == pytest.approx(2 / 2**10)
    assert steps[3].level == pytest.approx(0.05 / 6)
    assert "takes over from v1" in steps[3].text
    assert "level 0.00833 of challenger 2" in steps[3].text


def test_who_is_not_ahead_needs_no_more_examples() -> None:
    step = compare(version(2, 50, shift=50), version(1, 50))
    assert (step.outcome, step.n_more) == ("not enough evidence", None)
    assert step.text.endswith("It is not ahead, so more test examples would not help it.")


def test_why_two_versions_cannot_be_compared() -> None:
    step = compare(version(2, 9, protocol="q"), version(1, 9))
    assert "another protocol (q; p)" in step.text
    assert "energytune champion promote 2" in step.text
    assert step.outcome == "not comparable"
    worse = compare(version(2, 40), version(1, 60))
    assert "stays champion" in worse.text
    assert worse.outcome == "champion is better"


@pytest.mark.parametrize("n_right", [40, 53, 90])
def test_a_comparison_survives_json(n_right: int) -> None:
    step = compare(version(2, n_right), version(1, 50))
    assert Comparison.from_dict(step.to_dict()) == step
    with pytest.raises(TypeError):
        Comparison.from_dict({"wins": True})
