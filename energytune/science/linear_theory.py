"""Finetuning an overparameterised two-layer linear model, in closed form.

[Ren2023]_, Appendix D: L(B, v) = 1/2 ||X B^T v - Y||^2 with fewer samples than dimensions,
N < d. Features are z = B x, predictions q = v^T B x. To first order, gradient descent from
(B_0, v_0) ends where the residual Y - q_0, with q_0 = X B_0^T v_0, is pulled back through the
empirical neural tangent kernel K = K_v + K_B. The error of that shrinks as K grows, for example
with the width h.

With E[x x^T] = I the means over x of ||z_T - z_0||^2, z_T . z_0 and ||z_T||^2 are exactly
||B_T - B_0||^2, <B_T, B_0> and ||B_T||^2 (Frobenius).

Every formula was derived anew. Where the derivation says something else than the paper, or more
(see :mod:`energytune.science.linear_phases` as well):

* B_T, v_T and ||B_T - B_0|| come out right as the width grows, but <B_T, B_0> - ||B_0||^2 and
  ||B_T||^2 - ||B_0||^2 do not: linearisation leaves out terms of the same size. This module has
  the paper's formulas, which are exact for the linearised B_T; what gradient descent does is in
  :mod:`energytune.science.linear_flow`.
* "The distance falls as tau grows" (Proposition 2) holds on the straight path. A real head
  probing takes a curved one, on which the distance can rise, even with K fixed.
* "K fixed while q_0 varies" needs a head of constant norm: K_B holds ||v_0||^2. For a head
  v_0 = c v that is scaled down, K_B vanishes with c, and to first order B_T = B_0 at c = 0 as
  well as at c = 1.
  :func:`head_with_outputs` gives heads for which K is the same at every q_0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = [
    "LinearAdaptation",
    "LinearKernel",
    "backbone_pull",
    "head_with_outputs",
    "linear_adaptation",
    "linear_finetuned",
    "linear_kernel",
    "linear_outputs",
]


@dataclass(frozen=True, eq=False)
class LinearKernel:
    """The two parts of the empirical neural tangent kernel on the training samples.

    Attributes:
        head: K_v = X B_0^T B_0 X^T, symmetric, >= 0, (N, N), floating point.
        backbone: K_B = ||v_0||^2 X X^T, likewise, of the same dtype.

    Raises:
        DataError: If the shapes differ, a part isn't symmetric, or K is singular.
    """

    head: Tensor
    backbone: Tensor

    def __post_init__(self) -> None:
        head, backbone = self.head, self.backbone
        if not head.is_floating_point() or head.dtype != backbone.dtype:
            raise DataError(
                "The kernels of head and backbone must have one floating-point dtype, "
                f"got {head.dtype} and {backbone.dtype}."
            )
        if head.ndim != 2 or head.shape[0] != head.shape[1] or head.shape != backbone.shape:
            raise DataError(
                "The kernels of head and backbone must have one shape (N, N), "
                f"got {tuple(head.shape)} and {tuple(backbone.shape)}."
            )
        _require_definite(self.total, "The kernel K = K_v + K_B")
        for name, part in (("head", head), ("backbone", backbone)):
            if not torch.allclose(part, part.t()):
                raise DataError(f"The kernel of the {name} must be symmetric.")

    @property
    def total(self) -> Tensor:
        """K = K_v + K_B, positive definite, (N, N)."""
        return self.head + self.backbone

    @property
    def head_ratio(self) -> Tensor:
        """R = K_v K^{-1}, eigenvalues in [0, 1]; 0 if the backbone dominates, I if the head."""
        transposed: Tensor = torch.linalg.solve(self.total, self.head)  # both are symmetric
        return transposed.t()

    def solve(self, right: Tensor) -> Tensor:
        """Returns K^{-1} r for each vector r of (..., N)."""
        solved: Tensor = torch.linalg.solve(self.total, right.to(self.total).unsqueeze(-1))
        return solved.squeeze(-1)


@dataclass(frozen=True, eq=False)
class LinearAdaptation:
    """The backbone after finetuning beside the one before, one entry for each q_0.

    Attributes:
        squared_distance: ||B_T - B_0||_F^2, >= 0; 0 at q_0 = Y.
        dot: <B_T, B_0>_F.
        squared_norm: ||B_T||_F^2.
        squared_norm_before: ||B_0||_F^2, the value of the last two at q_0 = Y.
    """

    squared_distance: Tensor
    dot: Tensor
    squared_norm: Tensor
    squared_norm_before: float

    @property
    def cosine(self) -> Tensor:
        """<B_T, B_0> / (||B_T|| ||B_0||).

        In [-1, 1] where some head of the kernel's norm predicts q_0; elsewhere the formulas
        describe no model, and it may leave that range or be NaN.
        """
        return self.dot / (self.squared_norm * self.squared_norm_before).sqrt()


def linear_outputs(inputs: Tensor, backbone: Tensor, head: Tensor) -> Tensor:
    """Returns the predictions q = X B^T v, (N,) float64.

    Args:
        inputs: X, (N, d) with N < d, floating point.
        backbone: B, (h, d).
        head: v, (h,).

    Raises:
        DataError: If the shapes don't fit.
    """
    x, b, v = _model(inputs, backbone, head)
    return x @ (b.t() @ v)


def linear_kernel(inputs: Tensor, backbone: Tensor, head: Tensor) -> LinearKernel:
    """Returns K_v and K_B at (B_0, v_0), (N, N) float64 each; arguments as in `linear_outputs`.

    Raises:
        DataError: If the shapes don't fit or K is singular: two samples are the same, or the
            head is zero and h < N.
    """
    x, b, v = _model(inputs, backbone, head)
    features = x @ b.t()
    return LinearKernel(head=features @ features.t(), backbone=(v @ v) * (x @ x.t()))


def backbone_pull(inputs: Tensor, head: Tensor, weights: Tensor) -> Tensor:
    """Returns v_0 (X^T a)^T, (h, d) float64: what weights a on the samples do to the backbone.

    Lemma 1: its Frobenius product with B_0 is a^T q_0.

    Args:
        inputs: X, (N, d).
        head: v_0, (h,).
        weights: a, (N,).
    """
    return torch.outer(head.double(), inputs.double().t() @ weights.double())


def linear_finetuned(
    inputs: Tensor, targets: Tensor, backbone: Tensor, head: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns (B_T, v_T) to first order, (h, d) and (h,) float64: equations 29 and 31.

    With a = K^{-1} (Y - q_0): B_T = B_0 + v_0 (X^T a)^T and v_T = v_0 + B_0 X^T a.

    Args:
        inputs: X, (N, d) with N < d, floating point.
        targets: Y, (N,).
        backbone: B_0, (h, d).
        head: v_0, (h,).

    Raises:
        DataError: If the shapes don't fit or K is singular.
    """
    x, b, v = _model(inputs, backbone, head)
    y = as_vector(targets, len(x))
    a = linear_kernel(x, b, v).solve(y - linear_outputs(x, b, v))
    return b + backbone_pull(x, v, a), v + b @ (x.t() @ a)


def linear_adaptation(
    outputs: Tensor, targets: Tensor, kernel: LinearKernel, squared_norm_before: float
) -> LinearAdaptation:
    """Returns the adaptation of the linearised backbone by formula in q_0; differentiable.

    K is fixed while q_0 varies. The distance is that of gradient descent as well; for dot product
    and norm see :func:`energytune.science.linear_flow.flow_adaptation`.

    With a = K^{-1} (Y - q_0): ||B_T - B_0||^2 = a^T K_B a, <B_T, B_0> = ||B_0||^2 + a^T q_0 and
    ||B_T||^2 = ||B_0||^2 + 2 a^T q_0 + a^T K_B a.

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
    y = as_vector(targets, len(kernel.head)).to(kernel.head)
    q = outputs.to(kernel.head)
    if q.ndim not in (1, 2) or q.shape[-1:] != y.shape:
        raise DataError(f"The outputs must be ({len(y)},) or (P, {len(y)}), got {tuple(q.shape)}.")
    a = kernel.solve(y - q)
    projection = (a * q).sum(dim=-1)  # Lemma 1
    moved = (a * (a @ kernel.backbone)).sum(dim=-1)
    return LinearAdaptation(
        squared_distance=moved,
        dot=squared_norm_before + projection,
        squared_norm=squared_norm_before + 2 * projection + moved,
        squared_norm_before=squared_norm_before,
    )


def head_with_outputs(
    inputs: Tensor, backbone: Tensor, outputs: Tensor, norm: float, direction: Tensor
) -> Tensor:
    """Returns a head v_0 of a given norm that predicts q_0, (h,) float64.

    Heads of one norm share K_v and K_B, whatever they predict: along them K is really fixed.

    Args:
        inputs: X, (N, d) with N < d, floating point.
        backbone: B_0, (h, d) with h > N.
        outputs: q_0, (N,).
        norm: ||v_0||_2, at least that of the smallest head which predicts q_0.
        direction: Where the rest of the norm goes, (h,); only what the features of the samples
            don't span of it.

    Raises:
        DataError: If the shapes don't fit, the features of the samples are linearly dependent,
            or the norm is too small.
    """
    x, b, along = _model(inputs, backbone, direction)
    q = as_vector(outputs, len(x))
    features = x @ b.t()
    if len(b) <= len(x):
        raise DataError(f"The width h must exceed N = {len(x)} samples, got {len(b)}.")
    gram = features @ features.t()
    _require_definite(gram, "The features' Gram matrix X B^T B X^T")
    least = features.t() @ torch.linalg.solve(gram, q)
    spare = norm**2 - float(least @ least)
    if not spare >= 0:
        raise DataError(f"The norm must be at least {float(least.norm()):.6g}, got {norm}.")
    free = along - features.t() @ torch.linalg.solve(gram, features @ along)
    if not float(free.norm()) > 1e-8 * float(along.norm()):
        raise DataError("The direction must not lie in the span of the samples' features.")
    head: Tensor = least + spare**0.5 * free / free.norm()
    return head


def as_vector(values: Tensor, n_samples: int) -> Tensor:
    """Returns targets or predictions of the N samples in float64; DataError unless (N,)."""
    if values.shape != (n_samples,):
        raise DataError(
            f"Targets and outputs must be ({n_samples},), one for each sample, "
            f"got shape {tuple(values.shape)}."
        )
    return values.double()


def _model(inputs: Tensor, backbone: Tensor, head: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns X, B and v in float64."""
    if inputs.ndim != 2 or not 1 <= inputs.shape[0] < inputs.shape[1]:
        raise DataError(
            "The inputs must be (N, d) with 1 <= N < d (overparameterised), "
            f"got shape {tuple(inputs.shape)}."
        )
    if backbone.ndim != 2 or backbone.shape[0] < 1 or backbone.shape[1] != inputs.shape[1]:
        raise DataError(
            f"The backbone must be (h, {inputs.shape[1]}) with h >= 1, "
            f"got shape {tuple(backbone.shape)}."
        )
    if head.shape != backbone.shape[:1]:
        raise DataError(f"The head must be ({len(backbone)},), got shape {tuple(head.shape)}.")
    return inputs.double(), backbone.double(), head.double()


def _require_definite(matrix: Tensor, name: str) -> None:
    if not bool(matrix.isfinite().all()):
        raise DataError(f"{name} must be finite.")
    values = torch.linalg.eigvalsh(matrix.detach())  # ascending
    least, most = float(values[0]), float(values[-1])
    if not least > 10 * len(matrix) * torch.finfo(matrix.dtype).eps * most:
        raise DataError(
            f"{name} must be positive definite, but its eigenvalues go from {least:.3g} to "
            f"{most:.3g}. Are two samples the same or linearly dependent, or is the head zero?"
        )
