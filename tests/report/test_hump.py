from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.errors import ConfigError
from energytune.report.hump import MIN_TRIALS, fit_hump

X = np.linspace(0.1, 0.9, 30)


def test_a_parabola_is_found_exactly() -> None:
    hump = fit_hump(X, 0.9 - 2.0 * (X - 0.4) ** 2)
    assert hump.shape == "interior"
    assert hump.peak == pytest.approx(0.4, abs=1e-9)
    assert hump.peak_interval is not None
    assert hump.peak_interval.low == pytest.approx(0.4, abs=1e-6)
    assert hump.peak_interval.high == pytest.approx(0.4, abs=1e-6)
    assert hump.interior_share == 1.0
    assert hump.r2 == pytest.approx(1.0)
    assert "highest at AIE 0.40" in hump.sentence()
    assert "chance" not in hump.sentence()


def test_the_curve_is_that_of_numpy() -> None:
    rng = np.random.default_rng(1)
    y = 0.8 - (X - 0.5) ** 2 + rng.normal(0, 0.05, X.size)
    hump = fit_hump(X, y)
    expected = np.polyval(np.polyfit(X, y, 2), np.array(hump.x))
    np.testing.assert_allclose(hump.y, expected, rtol=1e-9)
    slope, bend = np.polyfit(X, y, 2)[1], np.polyfit(X, y, 2)[0]
    assert hump.peak == pytest.approx(-slope / (2 * bend))
    assert np.all(np.array(hump.low) <= np.array(hump.high))


def test_the_interval_covers_the_true_peak_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = n = 0
    for _ in range(120):
        x = rng.uniform(0.0, 1.0, 40)
        hump = fit_hump(x, 0.9 - (x - 0.5) ** 2 + rng.normal(0, 0.03, 40), n_samples=200)
        assert hump.peak_interval is not None
        hits += hump.peak_interval.low <= 0.5 <= hump.peak_interval.high
        n += 1
    assert 0.88 <= hits / n <= 1.0


@pytest.mark.parametrize(
    ("y", "shape", "words"),
    [
        (0.5 + (X - 0.5) ** 2, "not concave", "no hump"),
        (1.0 - (X - 1.5) ** 2, "edge", "edge of the energies"),
        (0.2 + 0.0 * X, "not concave", "no hump"),
    ],
)
def test_other_shapes_are_told_as_what_they_are(y, shape: str, words: str) -> None:
    hump = fit_hump(X, y)
    assert hump.shape == shape
    assert hump.peak is None
    assert hump.peak_interval is None
    assert words in hump.sentence()


def test_noise_alone_may_have_a_hump_but_is_not_sure_of_it() -> None:
    shares = [
        fit_hump(X, np.random.default_rng(seed).normal(0.8, 0.02, X.size)).interior_share
        for seed in range(20)
    ]
    assert sum(share >= 0.95 for share in shares) <= 3
    unsure = next(
        hump
        for seed in range(50)
        if (hump := fit_hump(X, np.random.default_rng(seed).normal(0.8, 0.02, X.size))).shape
        == "interior"
        and hump.interior_share < 0.95
    )
    assert "may be chance" in unsure.sentence()


@pytest.mark.parametrize(
    ("x", "n_energies"),
    [((), 0), ((0.5,) * 10, 1), ((0.1, 0.2, 0.3, 0.4, 0.5), 5), ((0.1, 0.5, 0.9) * 5, 3)],
)
def test_too_few_trials_or_energies_give_no_fit(x: tuple[float, ...], n_energies: int) -> None:
    hump = fit_hump(x, [0.5] * len(x))
    assert (hump.shape, hump.n, hump.n_energies) == ("too few", len(x), n_energies)
    assert hump.x == ()
    assert f"it takes {MIN_TRIALS} complete trials" in hump.sentence()


def test_the_same_seed_gives_the_same_numbers() -> None:
    y = 0.8 - (X - 0.5) ** 2 + np.random.default_rng(3).normal(0, 0.05, X.size)
    assert fit_hump(X, y, seed=1) == fit_hump(X, y, seed=1)
    assert fit_hump(X, y, seed=1).low != fit_hump(X, y, seed=2).low


@pytest.mark.parametrize("x", [[0.1, float("nan")], [0.1]])
def test_bad_numbers_are_refused(x: list[float]) -> None:
    with pytest.raises(ConfigError, match="finite and equally many"):
        fit_hump(x, [0.5, 0.6])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 1.4), st.floats(0.0, 1.0)), min_size=MIN_TRIALS, max_size=40),
    st.floats(0.5, 3.0),
    st.floats(-2.0, 2.0),
)
def test_a_peak_lies_where_the_trials_do_and_moves_with_the_axis(
    points: list[tuple[float, float]], scale: float, shift: float
) -> None:
    x, y = (np.array(values) for values in zip(*points, strict=True))
    hump = fit_hump(x, y, n_samples=20)
    if hump.peak is not None:
        assert x.min() <= hump.peak <= x.max()
        moved = fit_hump(2.0 * x, scale * y + shift, n_samples=20)
        assert moved.shape == "interior"
        assert moved.peak == pytest.approx(2.0 * hump.peak, rel=1e-4, abs=1e-4)
    assert 0.0 <= hump.interior_share <= 1.0
