"""Where the adaptation of an overparameterised linear model turns: Lemmas 2, 3 and Table 9.

[Ren2023]_, Appendix D, on the paper's formulas (:mod:`energytune.science.linear_theory`) with K
fixed while q_0 varies. These formulas leave something out, and the third phase with it: for what
gradient descent does, see :mod:`energytune.science.linear_flow`. Given the formulas, where the
derivation says something else than the paper, or more:

* Lemma 3 calls its critical point "usually a maximum" and assumes that I + R can be inverted.
  Both always hold: the Hessian is -2 (K^{-1} + K^{-1} K_v K^{-1}), negative definite, and R has
  its eigenvalues in [0, 1].
* The maximum of Lemma 3 is not on the straight path q_0 = c Y of Table 9 unless Y is an
  eigenvector of R. On the path the norm turns at c = rho / (1 + rho) <= 1/2, where rho is the
  head's share of Y^T K^{-1} Y (:func:`turning_share`). So the three phases keep their order.
* On the path the angle between B_T and B_0 never falls, in any phase, wherever the cosine is
  defined. In which phase it grows fastest depends on the problem.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from energytune.errors import DataError
from energytune.science.linear_theory import LinearKernel, as_vector

__all__ = [
    "AdaptationPhase",
    "adaptation_phase",
    "dot_maximum",
    "head_share",
    "norm_maximum",
    "path_share",
    "turning_share",
]


class AdaptationPhase(IntEnum):
    """The rows of [Ren2023]_, Table 9, as q_0 moves from Y (tiny) over mild to 0 (strong).

    They are what the paper's formulas say; in gradient descent the third does not occur as long
    as K is fixed (:mod:`energytune.science.linear_flow`).
    """

    STRETCHING = 1
    """From Y to Y/2: norm and dot product grow; the cosine falls in second order at first."""
    TURNING = 2
    """From Y/2 to the norm's peak: the norm still grows, the dot product falls."""
    SHRINKING = 3
    """From the norm's peak to 0: norm and dot product fall, the angle still grows."""


def dot_maximum(targets: Tensor) -> Tensor:
    """Returns the q_0 at which <B_T, B_0> is largest with K fixed: Y / 2 (Lemma 2)."""
    return targets / 2


def norm_maximum(targets: Tensor, kernel: LinearKernel) -> Tensor:
    """Returns the q_0 at which ||B_T|| is largest with K fixed: (I + R)^{-1} R Y (Lemma 3).

    It tends to 0 where the backbone dominates the kernel and to Y/2 where the head does.

    Args:
        targets: Y, (N,).
        kernel: K_v and K_B.

    Raises:
        DataError: If the shapes don't fit.
    """
    y = as_vector(targets, len(kernel.head)).to(kernel.head)
    ratio = kernel.head_ratio
    point: Tensor = torch.linalg.solve(torch.eye(len(y)).to(ratio) + ratio, ratio @ y)
    return point


def head_share(targets: Tensor, kernel: LinearKernel) -> float:
    """Returns rho, the head's share of the kernel at Y, in [0, 1].

    rho = Y^T K^{-1} K_v K^{-1} Y / Y^T K^{-1} Y.

    Args:
        targets: Y, (N,), not all 0.
        kernel: K_v and K_B.

    Raises:
        DataError: If the shapes don't fit, or all targets are 0.
    """
    y, pulled = _path(targets, kernel)
    return float(pulled @ kernel.head @ pulled / (y @ pulled))


def turning_share(targets: Tensor, kernel: LinearKernel) -> float:
    """Returns the c in [0, 1/2] at which ||B_T|| is largest on the path q_0 = c Y, K fixed.

    On the path ||B_T||^2 grows by (2 c (1 - c) + (1 - c)^2 (1 - rho)) Y^T K^{-1} Y with rho from
    :func:`head_share`: it is largest at rho / (1 + rho). Arguments and errors as there.
    """
    rho = head_share(targets, kernel)
    return rho / (1 + rho)


def path_share(outputs: Tensor, targets: Tensor, kernel: LinearKernel) -> float:
    """Returns c where q_0 = c Y; else that of the nearest c Y in the metric of K^{-1}.

    Args:
        outputs: q_0, (N,).
        targets: Y, (N,), not all 0.
        kernel: K_v and K_B.

    Raises:
        DataError: If the shapes don't fit, or all targets are 0.
    """
    y, pulled = _path(targets, kernel)
    return float(pulled @ as_vector(outputs, len(y)).to(y) / (y @ pulled))


def adaptation_phase(outputs: Tensor, targets: Tensor, kernel: LinearKernel) -> AdaptationPhase:
    """Returns the phase of Table 9 for a q_0 on the path from Y to 0.

    A q_0 off the path counts as its :func:`path_share`. Beyond the ends, norm and dot product go
    on as in the phase there. Arguments and errors as in :func:`path_share`.
    """
    share = path_share(outputs, targets, kernel)
    if share >= 0.5:
        return AdaptationPhase.STRETCHING
    if share >= turning_share(targets, kernel):
        return AdaptationPhase.TURNING
    return AdaptationPhase.SHRINKING


def _path(targets: Tensor, kernel: LinearKernel) -> tuple[Tensor, Tensor]:
    """Returns Y and K^{-1} Y."""
    y = as_vector(targets, len(kernel.head)).to(kernel.head)
    if not bool(y.any()):
        raise DataError("The path from Y to 0 needs targets that are not all 0.")
    return y, kernel.solve(y)
