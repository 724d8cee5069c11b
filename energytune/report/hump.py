"""The hump: does accuracy after finetuning first rise and then fall with the energy (AIE)?

A parabola is fitted by least squares, and fitted again to samples of the trials drawn with
replacement [Efron1979]_. Its highest point is told only where the parabola opens downwards and
that point lies within the energies that were tried.

References:
    .. [Efron1979] B. Efron. Bootstrap methods: another look at the jackknife. Annals of
        Statistics 7 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from energytune.errors import ConfigError
from energytune.report.intervals import Interval

__all__ = ["MIN_ENERGIES", "MIN_TRIALS", "Hump", "fit_hump"]

MIN_TRIALS = 6
"""Fewest trials: twice the parabola's coefficients."""
MIN_ENERGIES = 4
"""Fewest different energies: through three, a parabola always goes."""
_SAME_ENERGY = 0.005
"""Energies that differ by no more count as one."""
_FLAT = 1e-9
"""A bend of less, in accuracy over the range of energies, is rounding."""
_N_GRID = 41
_CHUNK = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hump:
    """A parabola through (energy, accuracy) of the trials.

    Attributes:
        shape: ``"interior"``: opens downwards, highest within the energies tried; ``"edge"``:
            opens downwards, highest beyond them; ``"not concave"``; ``"too few"``: no fit.
        n: Trials.
        n_energies: Different energies among them.
        peak: Energy of the highest point, where ``shape`` is ``"interior"``.
        peak_interval: 95 % bootstrap interval of it, of the samples that have such a point.
        interior_share: Share in [0, 1] of the samples whose parabola has its highest point
            within the energies tried.
        r2: Share of the variance that the parabola explains.
        x: Energies at which the curve is told, ascending.
        y: The curve.
        low: Lower end of its pointwise 95 % bootstrap band.
        high: Upper end.
    """

    shape: Literal["interior", "edge", "not concave", "too few"]
    n: int
    n_energies: int
    peak: float | None = None
    peak_interval: Interval | None = None
    interior_share: float = 0.0
    r2: float = math.nan
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def sentence(self) -> str:
        """Returns what the fit says, in words, and how sure it is."""
        if self.shape == "too few":
            return (
                f"No hump is fitted: it takes {MIN_TRIALS} complete trials with {MIN_ENERGIES} "
                f"different energies, and there are {self.n} with {self.n_energies}."
            )
        sure = (
            f"{100 * self.interior_share:.0f} % of the bootstrap samples have a highest point "
            "within the energies tried"
        )
        if self.shape == "not concave":
            return f"The fitted curve is not concave: these trials show no hump ({sure})."
        if self.shape == "edge" or self.peak is None or self.peak_interval is None:
            return (
                "The fitted curve is concave, but highest at the edge of the energies that were "
                f"tried, so that the optimum may lie beyond ({sure})."
            )
        low, high = self.peak_interval.low, self.peak_interval.high
        chance = "" if self.interior_share >= 0.95 else "; the hump may be chance"
        return (
            f"The fitted curve is highest at AIE {self.peak:.2f} (95 % bootstrap interval "
            f"{low:.2f} to {high:.2f}; {sure}{chance})."
        )


def fit_hump(
    energies: Sequence[float],
    accuracies: Sequence[float],
    *,
    seed: int = 0,
    n_samples: int = 1000,
) -> Hump:
    """Fits accuracy = a + b AIE + c AIE^2 by least squares, with a bootstrap over the trials.

    Trials differ in more than their energy (head, depth, rate): the curve says where along the
    energy the good ones lie, not what energy alone does.

    Args:
        energies: AIE, one a trial, finite.
        accuracies: Accuracy after finetuning, as many, finite.
        seed: Of the bootstrap.
        n_samples: Samples of the bootstrap, >= 1.

    Raises:
        ConfigError: The lengths differ, or a number is not finite.
    """
    x, y = np.asarray(energies, np.float64), np.asarray(accuracies, np.float64)
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError(
            "energies and accuracies must be finite and equally many, got "
            f"{x.size} and {y.size}. Leave out trials that are not complete."
        )
    n_energies = _n_different(x)
    if len(x) < MIN_TRIALS or n_energies < MIN_ENERGIES:
        return Hump("too few", len(x), n_energies)
    low, high = float(x.min()), float(x.max())
    scaled = (x - low) / (high - low)  # else the powers are nearly collinear
    coefficients = _solve(np.ones((1, len(x))), scaled, y)[0]
    samples = _bootstrap(scaled, y, seed, n_samples)
    inside, peaks = _peaks(samples)
    grid = np.linspace(0.0, 1.0, _N_GRID)
    powers = np.stack([np.ones_like(grid), grid, grid**2])
    ends = np.quantile(samples @ powers, [0.025, 0.975], axis=0)
    is_inside, peak = _peaks(coefficients[None])
    spread = float(((y - y.mean()) ** 2).sum())
    left = float(
        ((y - coefficients @ np.stack([np.ones_like(scaled), scaled, scaled**2])) ** 2).sum()
    )
    shape: Literal["interior", "edge", "not concave"] = "not concave"
    if coefficients[2] < -_FLAT:
        shape = "interior" if is_inside[0] else "edge"
    interval = None
    if shape == "interior" and inside.any():
        interval = Interval(*(low + (high - low) * np.quantile(peaks[inside], [0.025, 0.975])))
    return Hump(
        shape=shape,
        n=len(x),
        n_energies=n_energies,
        peak=low + (high - low) * float(peak[0]) if shape == "interior" else None,
        peak_interval=interval,
        interior_share=float(inside.mean()),
        r2=1.0 - left / spread if spread > 0 else math.nan,
        x=tuple((low + (high - low) * grid).tolist()),
        y=tuple((coefficients @ powers).tolist()),
        low=tuple(ends[0].tolist()),
        high=tuple(ends[1].tolist()),
    )


def _n_different(x: Floats) -> int:
    if x.size == 0:
        return 0
    found, last = 0, -math.inf
    for value in np.sort(x):
        if value - last > _SAME_ENERGY:
            found, last = found + 1, float(value)
    return found


def _bootstrap(x: Floats, y: Floats, seed: int, n_samples: int) -> Floats:
    """Returns (B, 3) coefficients of samples drawn with replacement that determine a parabola."""
    rng = np.random.default_rng(seed)
    chunk = max(1, min(n_samples, _CHUNK // len(x)))
    found, n_left = [], n_samples
    while n_left > 0:
        n = min(chunk, n_left)
        weights = rng.multinomial(len(x), np.full(len(x), 1.0 / len(x)), size=n)
        found.append(_solve(weights.astype(np.float64), x, y))
        n_left -= n
    coefficients = np.concatenate(found)
    kept = np.isfinite(coefficients).all(axis=1)
    return coefficients[kept] if kept.any() else np.zeros((1, 3))


def _solve(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Returns (B, 3) weighted least squares coefficients; NaN where they are not determined."""
    moments = weights @ np.stack([x**p for p in range(5)], axis=1)
    right = weights @ np.stack([y * x**p for p in range(3)], axis=1)
    left = moments[:, [[0, 1, 2], [1, 2, 3], [2, 3, 4]]]
    # A sample with fewer than three energies has no parabola.
    bad = np.linalg.cond(left) > 1e10
    left[bad] = np.eye(3)
    found = np.asarray(np.linalg.solve(left, right[..., None])[..., 0], np.float64)
    found[bad] = np.nan
    return found


def _peaks(coefficients: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Returns whether each parabola is highest within (0, 1), and where it is highest."""
    b, c = coefficients[:, 1], coefficients[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = -b / (2 * c)
    inside = (c < -_FLAT) & (at > 0) & (at < 1)
    return inside, at
