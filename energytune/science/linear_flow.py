"""Where gradient descent really takes an overparameterised linear model: one order further.

[Ren2023]_, Appendix D, puts the linearised solution B_T (eq. 31) into <B_T, B_0> and ||B_T||^2.
That is not enough. B_T - B_0 is nearly orthogonal to B_0, so what linearisation leaves out of
B_T, though smaller than B_T - B_0 by a factor of the width, adds to both products as much as
what it keeps. The error does not fall with the width. Derived instead from gradient flow,

    d||B||^2 / dt = 2 r^T q,    r = Y - q    (Lemma 1 at every time; exact at any width)

with r(t) = exp(-K t) r_0 to leading order, so that with a = K^{-1} (Y - q_0)

    ||B_T||^2   = ||B_0||^2 + 2 a^T q_0 + a^T K a  = ||B_0||^2 + Y^T K^{-1} Y - q_0^T K^{-1} q_0
    <B_T, B_0>  = ||B_0||^2 + a^T q_0 + 1/2 a^T K_v a
    ||B_T - B_0||^2 = a^T K_B a    (as in the paper)

where the paper has a^T K_B a in place of a^T K a, and no a^T K_v a. Its formulas also break the
law that ||B||^2 - ||v||^2 is constant along gradient flow; these keep it. Both agree where the
backbone dominates the kernel. What follows with K fixed, for q_0 from Y to 0:

* The norm grows all the way and is largest at q_0 = 0: the third phase of Table 9, in which it
  falls, and the maximum of Lemma 3 do not occur.
* The dot product still rises and then falls. It is largest at (I + S)^{-1} S Y with
  S = K_B K^{-1} (:func:`flow_dot_maximum`), which is Lemma 2's Y/2 where the backbone dominates
  and 0 where the head does.
* The distance is as in the paper.

Gradient descent with a learning rate eta follows this up to O(eta K).
"""

from __future__ import annotations

import torch
from torch import Tensor

from energytune.science.linear_phases import head_share
from energytune.science.linear_theory import (
    LinearAdaptation,
    LinearKernel,
    as_vector,
    linear_adaptation,
)

__all__ = ["flow_adaptation", "flow_dot_maximum", "flow_turning_share"]


def flow_adaptation(
    outputs: Tensor, targets: Tensor, kernel: LinearKernel, squared_norm_before: float
) -> LinearAdaptation:
    """Returns the adaptation of the backbone after gradient flow, to leading order in 1/K.

    Differentiable in q_0, with K fixed. Distance and both changes, of dot product and squared
    norm, have a relative error that vanishes with the width.

    Args:
        outputs: q_0, (N,), or (P, N) for P of them.
        targets: Y, (N,).
        kernel: K_v and K_B.
        squared_norm_before: ||B_0||_F^2, > 0.

    Returns:
        Scalars or (P,) of the kernel's dtype.

    Raises:
        DataError: If the shapes don't fit.
    """
    linear = linear_adaptation(outputs, targets, kernel, squared_norm_before)
    a = kernel.solve(targets.to(kernel.head) - outputs.to(kernel.head))
    missed = (a * (a @ kernel.head)).sum(dim=-1)
    return LinearAdaptation(
        squared_distance=linear.squared_distance,
        dot=linear.dot + missed / 2,
        squared_norm=linear.squared_norm + missed,
        squared_norm_before=squared_norm_before,
    )


def flow_dot_maximum(targets: Tensor, kernel: LinearKernel) -> Tensor:
    """Returns the q_0 at which <B_T, B_0> is largest with K fixed: (I + S)^{-1} S Y.

    S = K_B K^{-1} = I - R. Always a maximum: the Hessian is -K^{-1} (K + K_B) K^{-1}.

    Args:
        targets: Y, (N,).
        kernel: K_v and K_B.

    Raises:
        DataError: If the shapes don't fit.
    """
    y = as_vector(targets, len(kernel.head)).to(kernel.head)
    identity = torch.eye(len(y)).to(kernel.head)
    ratio = identity - kernel.head_ratio
    point: Tensor = torch.linalg.solve(identity + ratio, ratio @ y)
    return point


def flow_turning_share(targets: Tensor, kernel: LinearKernel) -> float:
    """Returns the c in [0, 1/2] at which <B_T, B_0> is largest on the path q_0 = c Y, K fixed.

    (1 - rho) / (2 - rho) with rho the head's share of the kernel at Y. For larger c it grows
    towards 0 as the norm does (stretching); for smaller c it falls while the norm grows
    (turning).

    Args:
        targets: Y, (N,), not all 0.
        kernel: K_v and K_B.

    Raises:
        DataError: If the shapes don't fit, or all targets are 0.
    """
    rho = head_share(targets, kernel)
    return (1 - rho) / (2 - rho)
