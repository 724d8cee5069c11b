from __future__ import annotations

import math
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from energytune.errors import ConfigError
from energytune.report.intervals import Interval, paired_t_interval, wilson_interval

Z95 = 1.959963984540054


def test_wilson_special_values() -> None:
    z2 = Z95**2
    n = 10
    nothing, all_right = wilson_interval(0.0, n), wilson_interval(1.0, n)
    assert nothing.low == 0.0
    assert nothing.high == pytest.approx(z2 / (n + z2), abs=1e-15)
    assert all_right.low == pytest.approx(n / (n + z2), abs=1e-15)
    assert all_right.high == 1.0
    half = wilson_interval(0.5, n)
    assert half.high - 0.5 == pytest.approx(0.5 * Z95 / math.sqrt(n + z2), abs=1e-12)


@pytest.mark.parametrize(("n_correct", "n"), [(1, 2), (81, 263), (530, 597), (596, 597)])
def test_wilson_is_scipys(n_correct: int, n: int) -> None:
    ours = wilson_interval(n_correct / n, n)
    theirs = stats.binomtest(n_correct, n).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_bounds_solve_the_score_equation(n: int, accuracy: float, confidence: float) -> None:
    interval = wilson_interval(accuracy, n, confidence)
    assert 0.0 <= interval.low <= accuracy <= interval.high <= 1.0
    z = float(special.ndtri((1 + confidence) / 2))
    for bound in (interval.low, interval.high):
        assert n * (accuracy - bound) ** 2 == pytest.approx(
            z * z * bound * (1 - bound), rel=1e-6, abs=1e-9
        )


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_is_symmetric_and_shrinks_with_n(n: int, accuracy: float) -> None:
    here, mirrored = wilson_interval(accuracy, n), wilson_interval(1 - accuracy, n)
    assert (here.low, here.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    more = wilson_interval(accuracy, 4 * n)
    assert more.high - more.low < here.high - here.low


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, math.nan])
def test_wilson_refuses_what_is_no_share(accuracy: float) -> None:
    with pytest.raises(ConfigError, match="accuracy must lie in"):
        wilson_interval(accuracy, 10)


def test_wilson_refuses_no_images() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        wilson_interval(0.5, 0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence must lie in"):
        paired_t_interval([0.1, 0.2], confidence)


def test_paired_closed_form_for_three_seeds() -> None:
    # t with 2 degrees of freedom has the quantile (2 p - 1) / sqrt(2 p (1 - p)).
    quantile = 0.95 / math.sqrt(2 * 0.975 * 0.025)
    result = paired_t_interval([0.04, 0.05, 0.06])
    assert result.n == 3
    assert result.mean == pytest.approx(0.05)
    half = quantile * 0.01 / math.sqrt(3)
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == pytest.approx((0.05 - half, 0.05 + half))
    assert result.excludes_zero


def test_paired_closed_form_for_two_seeds() -> None:
    # With 1 degree of freedom it is Cauchy's: tan(pi (p - 1/2)).
    result = paired_t_interval([0.0, 0.02])
    half = math.tan(math.pi * 0.475) * 0.01
    assert result.interval is not None
    assert result.interval.high == pytest.approx(0.01 + half)
    assert not result.excludes_zero


def test_too_few_pairs_have_no_interval() -> None:
    none, one = paired_t_interval([]), paired_t_interval([0.03])
    assert (none.n, none.interval, none.excludes_zero) == (0, None, False)
    assert math.isnan(none.mean)
    assert (one.n, one.mean, one.interval, one.excludes_zero) == (1, 0.03, None, False)


def test_equal_differences_have_a_point_as_interval() -> None:
    result = paired_t_interval([0.25, 0.25, 0.25])
    assert result.interval == Interval(0.25, 0.25)
    assert result.excludes_zero


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_paired_refuses_non_finite(bad: float) -> None:
    with pytest.raises(ConfigError, match="must be finite"):
        paired_t_interval([0.1, bad])


_differences = st.lists(st.floats(-1, 1), min_size=2, max_size=12)


@given(_differences)
def test_paired_is_scipys_paired_test(differences: list[float]) -> None:
    result = paired_t_interval(differences)
    assert result.interval is not None
    spread = max(differences) - min(differences)
    if spread < 1e-6:
        assert result.interval.high - result.interval.low < 1e-4
        return
    theirs = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx(
        (float(theirs.low), float(theirs.high)), rel=1e-6, abs=1e-9
    )


@given(_differences)
def test_paired_turns_round_with_the_sign(differences: list[float]) -> None:
    here = paired_t_interval(differences)
    turned = paired_t_interval([-d for d in differences])
    assert here.interval is not None
    assert turned.interval is not None
    assert here.mean == -turned.mean
    assert here.mean == pytest.approx(mean(differences), abs=1e-12)
    assert (here.interval.low, here.interval.high) == (-turned.interval.high, -turned.interval.low)


def test_score_equation_has_a_root_at_the_bound() -> None:
    # Solved numerically, without the closed form.
    def excess(p: float) -> float:
        return 0.9 - p - Z95 * math.sqrt(p * (1 - p) / 100)

    assert wilson_interval(0.9, 100).low == pytest.approx(optimize.brentq(excess, 0.5, 0.9))
