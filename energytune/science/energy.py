"""Average initial energy (AIE): how much a head still pulls on the features.

[Ren2023]_, Proposition 1: E_n ||z_T - z_0||_2 <= c * E_aie with E_aie = E_n ||e_y - p_0||_2,
where p_0 is the prediction on the training set at the start of finetuning, that is at the end
of head probing.
"""

from __future__ import annotations

import math

from torch import Tensor

from energytune.errors import DataError

__all__ = ["average_initial_energy", "reserved_energy", "uniform_energy"]


def average_initial_energy(residual: Tensor) -> float:
    """Returns the mean L2 norm of the residuals, E_aie of [Ren2023]_.

    Norms and their mean are taken in float64, so that the order and number of samples do not
    show in the result.

    Args:
        residual: e_y - p_0, target minus predicted probability, (N, K), N >= 1, floating point.
            Against smoothed targets where finetuning smooths its targets.

    Returns:
        A number in [0, sqrt(2)] for softmax: 0 if every prediction is certain and right,
        sqrt(2) if every prediction is certain and wrong.

    Raises:
        DataError: If there is no sample, or the residuals are not (N, K).
    """
    if residual.ndim != 2 or residual.shape[0] == 0:
        raise DataError(
            "The residuals of the average initial energy must be (N, K) with N >= 1, "
            f"got shape {tuple(residual.shape)}."
        )
    return float(residual.double().norm(dim=1).mean())


def uniform_energy(n_classes: int) -> float:
    """Returns the AIE of a uniform prediction, sqrt((K - 1) / K).

    Args:
        n_classes: K >= 1; one class has no energy.
    """
    return math.sqrt((n_classes - 1) / n_classes)


def reserved_energy(label_smoothing: float, n_classes: int) -> float:
    """Returns the AIE left when probing with smoothed targets has converged to them.

    p_0 = (1 - eps) e_y + eps u leaves ||e_y - p_0|| = eps * sqrt((K - 1) / K) against one-hot
    targets: the "reserved energy" of lsHP in [Ren2023]_, Section 5.

    Args:
        label_smoothing: eps = 1 - eta_HP, in [0, 1).
        n_classes: K >= 1.
    """
    return label_smoothing * uniform_energy(n_classes)
