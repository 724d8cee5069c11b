from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from energytune.optimizer.surrogate import Floats, expected_improvement, fit_surrogate


def surface(points: Floats) -> Floats:
    """Smooth, best at (0.3, 0.7), the third coordinate without meaning."""
    x, y = points[:, 0], points[:, 1]
    return 0.9 - 0.3 * (x - 0.3) ** 2 - 0.2 * (y - 0.7) ** 2


def observed(n_points: int, noise: float = 0.0, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    points = rng.random((n_points, 3))
    return points, surface(points) + noise * rng.normal(size=n_points), np.zeros(n_points)


def improvement(mean: float, deviation: float, best: float) -> float:
    (value,) = expected_improvement(np.array([mean]), np.array([deviation]), best)
    return float(value)


@settings(max_examples=60, deadline=None)
@given(mean=st.floats(-3, 3), deviation=st.floats(0.05, 3), best=st.floats(-3, 3))
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    def gain(value: float) -> float:
        return (value - best) * float(norm.pdf(value, mean, deviation))

    end = max(best, mean) + 12 * deviation
    integral = quad(gain, best, end, points=[mean] if best < mean < end else None)[0]
    assert improvement(mean, deviation, best) == pytest.approx(integral, abs=1e-7)


def test_expected_improvement_on_special_values() -> None:
    assert improvement(0.5, 1.0, 0.5) == pytest.approx(1 / np.sqrt(2 * np.pi))
    assert improvement(0.7, 1e-9, 0.5) == pytest.approx(0.2)
    assert improvement(0.3, 1e-9, 0.5) == 0.0
    assert improvement(-100.0, 1.0, 0.0) == 0.0


@settings(max_examples=40, deadline=None)
@given(mean=st.floats(-2, 2), deviation=st.floats(0.01, 2), more=st.floats(0, 2))
def test_expected_improvement_grows_with_mean_and_with_deviation(
    mean: float, deviation: float, more: float
) -> None:
    least = improvement(mean, deviation, 0.0)
    assert least >= max(0.0, mean) - 1e-12
    assert improvement(mean + more, deviation, 0.0) >= least - 1e-12
    assert improvement(mean, deviation + more, 0.0) >= least - 1e-12


def test_a_smooth_surface_is_recovered() -> None:
    model = fit_surrogate(*observed(40))
    points = observed(200, seed=1)[0]
    mean, deviation = model.predict(points)
    errors = np.abs(mean - surface(points))  # of a standard deviation of 0.05
    assert np.median(errors) < 0.003
    assert errors.max() < 0.04  # where very bad values are clipped
    assert np.all(deviation > 0)
    assert model.best == pytest.approx(surface(observed(40)[0]).max(), abs=0.01)


def test_the_noise_of_observations_is_found() -> None:
    model = fit_surrogate(*observed(120, noise=0.02))
    assert model.seed_deviation == pytest.approx(0.02, rel=0.35)
    quiet = fit_surrogate(*observed(120, noise=0.0))
    assert quiet.seed_deviation < model.seed_deviation / 2


def test_the_same_arguments_give_the_same_model() -> None:
    points = observed(50, seed=1)[0]
    first, second = (fit_surrogate(*observed(20, 0.01)).predict(points) for _ in range(2))
    assert np.array_equal(first, second)


def test_scale_and_offset_of_the_values_do_not_matter() -> None:
    points, values, doubt = observed(25, 0.01)
    at = observed(20, seed=2)[0]
    mean, deviation = fit_surrogate(points, values, doubt).predict(at)
    other, spread = fit_surrogate(points, 100 * values - 7, doubt).predict(at)
    assert other == pytest.approx(100 * mean - 7, abs=0.2)
    assert spread == pytest.approx(100 * deviation, rel=0.2)


def test_how_bad_a_very_bad_value_is_does_not_matter() -> None:
    points, values, doubt = observed(30, 0.01)
    at = observed(20, seed=2)[0]
    means = []
    for very_bad in (-5.0, -5000.0):
        values[3] = very_bad
        means.append(fit_surrogate(points, values, doubt).predict(at)[0])
    assert np.array_equal(*means)


def test_a_doubtful_value_moves_the_mean_less() -> None:
    points, values, doubt = observed(30)
    place = int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))
    truth = surface(points)[place]
    values[place] = truth - 0.05
    sure = fit_surrogate(points, values, doubt).predict(points[[place]])[0][0]
    doubt[place] = 20.0
    unsure = fit_surrogate(points, values, doubt).predict(points[[place]])[0][0]
    assert sure < unsure
    assert unsure == pytest.approx(truth, abs=0.02)


def test_pretending_keeps_means_and_is_surer_near() -> None:
    model = fit_surrogate(*observed(10, 0.01))
    points = np.array([[0.5, 0.5, 0.5], [0.1, 0.9, 0.4]])
    mean, deviation = model.predict(points)
    later = model.pretending(points[:1])
    after, surer = later.predict(points)
    assert after == pytest.approx(mean, abs=1e-3)
    assert surer[0] < 0.9 * deviation[0]
    assert surer[1] <= deviation[1] + 1e-12
    assert (later.best, later.seed_deviation) == (model.best, model.seed_deviation)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_few_and_equal_values_are_enough(values: list[float]) -> None:
    points = np.arange(len(values), dtype=float)[:, None]
    model = fit_surrogate(points, np.array(values), np.zeros(len(values)))
    mean, deviation = model.predict(points + 0.5)
    assert mean == pytest.approx(0.5, abs=1e-4)
    assert np.isfinite(deviation).all()
    assert model.best == pytest.approx(0.5, abs=1e-4)


def test_it_is_quiet_in_any_thread() -> None:
    """Length scales end at their bounds here, of which scikit-learn would warn."""
    caught: list[str] = []

    def fit() -> None:
        points, values, doubt = observed(12)
        fit_surrogate(np.hstack([points, np.zeros((12, 2))]), values, doubt)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=fit) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        caught += [str(one.message) for one in told]
    assert caught == []
