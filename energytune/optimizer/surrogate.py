"""A model of what finetuning would give, and what a further finetune is expected to improve.

The model is scikit-learn's Gaussian process with a Matern 5/2 kernel, one length scale a feature
and a noise term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["Beliefs", "Surrogate", "expected_improvement", "fit_surrogate"]

Floats = NDArray[np.float64]
_LENGTH_SCALES = (0.3, 10.0)
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Surrogate:
    """A fitted model.

    Attributes:
        best: Highest mean at an observed point, on the scale of the observations.
        seed_deviation: Fitted deviation of an observation from its mean, same scale.
    """

    _process: Any
    _centre: float
    _scale: float
    best: float
    seed_deviation: float

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Returns mean and standard deviation of the noise-free value at points (N, F)."""
        mean, deviation = self._process.predict(points, return_std=True)
        noise = self.seed_deviation / self._scale
        deviation = np.sqrt(np.maximum(deviation**2 - noise**2, 1e-12))
        return mean * self._scale + self._centre, deviation * self._scale

    def beliefs(self, points: Floats) -> Beliefs:
        """Returns what the model believes of points (N, F), to pretend about them one by one."""
        mean, covariance = self._process.predict(points, return_cov=True)
        noise = (self.seed_deviation / self._scale) ** 2
        return Beliefs(
            mean * self._scale + self._centre,
            covariance - noise * np.eye(len(points)),
            noise,
            self._scale,
        )

    def pretending(self, points: Floats) -> Surrogate:
        """Returns the model as it were if ``points`` (N, F) had come to what it expects of them.

        Their means stay, and the model is surer near them.
        """
        seen = self._process
        process = _process(
            seen.kernel_,
            np.vstack([seen.X_train_, points]),
            np.concatenate([seen.y_train_, seen.predict(points)]),
            np.concatenate([seen.alpha, np.full(len(points), _LEAST_SPREAD)]),
        )
        return Surrogate(process, self._centre, self._scale, self.best, self.seed_deviation)


class Beliefs:
    """Mean and deviation of some points, and what becomes of them as one after the other is run.

    That is :meth:`Surrogate.pretending` about a point, without fitting: it costs O(N^2).

    Args:
        mean: Of each point, (N,).
        covariance: Of the noise-free values, (N, N), in units of ``scale`` squared.
        noise: Variance of an observation beside that, in the same units.
        scale: Unit of ``covariance``.
    """

    def __init__(self, mean: Floats, covariance: Floats, noise: float, scale: float) -> None:
        self.mean = mean
        self._covariance, self._noise, self._scale = covariance, noise, scale

    @property
    def deviation(self) -> Floats:
        """Standard deviation of the noise-free values, (N,)."""
        deviation: Floats = np.sqrt(np.maximum(np.diag(self._covariance), 1e-12)) * self._scale
        return deviation

    def pretend(self, place: int) -> None:
        """Makes the beliefs those after ``place`` has come to its mean."""
        column = self._covariance[:, place].copy()
        spread = column[place] + self._noise + _LEAST_SPREAD
        self._covariance -= np.outer(column, column / spread)


def fit_surrogate(points: Floats, values: Floats, doubt: Floats) -> Surrogate:
    """Fits the model.

    Very bad values say where not to look, and how bad they are says nothing: those more than two
    interquartile ranges below the median are raised to that.

    Args:
        points: Features, (N, F), each of about unit spread; N >= 1.
        values: Observations, (N,), finite; higher is better.
        doubt: By how much the variance of an observation is larger than that of a whole
            finetune, in units of the variance of ``values``, (N,), >= 0.

    Returns:
        The same model for the same arguments.
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    clipped = np.maximum(values, middle - 2.0 * (high - low + 1e-3))
    centre, scale = float(clipped.mean()), float(clipped.std()) + _LEAST_SPREAD
    scaled, variance = (clipped - centre) / scale, _LEAST_SPREAD + doubt
    process = _process(_likeliest(points, scaled, variance), points, scaled, variance)
    noise = float(np.sqrt(process.kernel_.k2.noise_level))
    best = float(process.predict(points).max())
    return Surrogate(process, centre, scale, best * scale + centre, noise * scale)


def _likeliest(points: Floats, values: Floats, variance: Floats) -> Any:
    """Returns the kernel of the highest marginal likelihood.

    The process would find the same by itself, with a warning for each length scale that ends at
    its bound, which is an answer and no problem; and warnings can't be silenced by thread.
    """
    from scipy.optimize import minimize
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0, (0.1, 10.0)) * Matern(
        length_scale=np.ones(points.shape[1]), length_scale_bounds=_LENGTH_SCALES, nu=2.5
    ) + WhiteKernel(0.1, (1e-2, 1.0))
    process = _process(kernel, points, values, variance)

    def loss(theta: Floats) -> tuple[float, Floats]:
        likelihood, slope = process.log_marginal_likelihood(
            theta, eval_gradient=True, clone_kernel=False
        )
        return -likelihood, -slope

    found = minimize(loss, kernel.theta, method="L-BFGS-B", jac=True, bounds=kernel.bounds)
    return kernel.clone_with_theta(found.x)


def _process(kernel: Any, points: Floats, values: Floats, variance: Floats) -> Any:
    """Returns the process with this very kernel."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(kernel, alpha=variance, optimizer=None).fit(points, values)


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Returns E[max(0, value - best)] of normal values, (N,), >= 0; higher is better.

    Source: Jones, Schonlau, Welch, Efficient global optimization (1998), Eq. 15.
    """
    gain = mean - best
    z = gain / deviation
    density = np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)  # scipy.stats takes a second to import
    improvement: Floats = np.maximum(gain * ndtr(z) + deviation * density, 0.0)
    return improvement
