"""Energies that follow from numbers of classes and smoothing alone; needs no torch.

References:
    .. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
       finetuning. ICLR 2023.
"""

from __future__ import annotations

import math

__all__ = ["reserved_energy", "uniform_energy"]


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
