"""The empirical neural tangent kernel of a backbone: how a step on one sample moves another.

[Ren2023]_, Eq. 2: for samples n and n', kappa(n, n') = (dz(n)/dB) (dz(n')/dB)^T, a matrix of
features by features. One step of full-batch gradient descent on the mean loss moves the features
by kappa times direction times energy (:func:`predicted_feature_step`), and the paper's Fig. 6
asks how fast kappa itself changes while finetuning (:class:`KernelDrift`).

A Jacobian of a real backbone is large: ResNet-18 has 512 features and 11 million weights, 23 GB
a sample in float32. None is ever held here. A few rows of it are made at a time in reverse mode,
and each is pushed through all samples in forward mode, which gives a few columns of kappa: the
"NTK-vector products" of [Novak2022]_.

References:
    .. [Novak2022] R. Novak, J. Sohl-Dickstein, S. S. Schoenholz. Fast finite width neural
       tangent kernel. ICML 2022.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from energytune.errors import ConfigError, DataError, unknown_name

__all__ = ["Drift", "KernelDrift", "empirical_kernel", "kernel_norms", "predicted_feature_step"]


def empirical_kernel(
    backbone: nn.Module,
    inputs: Tensor,
    others: Tensor | None = None,
    *,
    parameters: Collection[str] | None = None,
    chunk_size: int = 16,
) -> Tensor:
    """Returns kappa(n, n') of all pairs of samples, exact up to rounding.

    Time is about N M D passes forward in forward mode; memory beyond the result is
    ``chunk_size`` times the weights and the activations of N samples. Without ``others``,
    kappa(n', n) = kappa(n, n')^T saves half the time.

    Args:
        backbone: z = f(x; B) in evaluation mode, (N, ...) to (N, D), each sample on its own.
        inputs: Samples n, (N, ...), on the backbone's device.
        others: Samples n', (M, ...); None for the same samples.
        parameters: Names of the weights that count as B, as in ``named_parameters()``; None for
            all that are trainable.
        chunk_size: How many features of n' are differentiated at once, >= 1. It changes memory
            and time, not the result.

    Returns:
        (N, M, D, D) of the backbone's dtype, without gradient. Entry [n, m] is kappa(n, m), with
        rows for the features of n.

    Raises:
        ConfigError: If the backbone is in training mode, no weight counts, or the chunk size is
            below 1.
        DataError: If there is no sample, or the features aren't (N, D).
        UnknownNameError: If the backbone has no such weight.
    """
    if any(module.training for module in backbone.modules()):
        # batch statistics would tie the samples together, and dropout would draw anew
        raise ConfigError("The kernel needs a backbone in evaluation mode. Call backbone.eval().")
    if chunk_size < 1:
        raise ConfigError(f"chunk_size must be >= 1, got {chunk_size}.")
    weights = _weights(backbone, parameters)
    columns = inputs if others is None else others
    if len(inputs) == 0 or len(columns) == 0:
        raise DataError(
            f"The kernel needs at least one sample a side, got {len(inputs)}, {len(columns)}."
        )
    with torch.no_grad(), _differentiable_attention():
        n_features = _n_features(backbone, columns[:1])
        size = (len(inputs), len(columns), n_features, n_features)
        kernel = inputs.new_empty(size, dtype=next(iter(weights.values())).dtype)
        for m in range(len(columns)):
            first = m if others is None else 0
            for start, part in _columns(
                backbone, weights, inputs[first:], columns[m : m + 1], n_features, chunk_size
            ):
                kernel[first:, m, :, start : start + part.shape[-1]] = part
            if others is None:
                kernel[m, m + 1 :] = kernel[m + 1 :, m].mT
    return kernel


def predicted_feature_step(
    kernel: Tensor, direction: Tensor, energy: Tensor, learning_rate: float
) -> Tensor:
    """Returns the move of the features in one step of gradient descent, z_{t+1} - z_t, by Eq. 2.

    (eta / N) sum_n' kappa(n, n') (dq(n')/dz)^T (e_y - p)(n'), for plain full-batch descent on
    the mean over n' of cross-entropy of softmax or sigmoids, or of 1/2 ||y - q||^2.

    Given exact factors, the sum is the exact derivative of the move with respect to eta at 0.
    What is left out is O(eta^2) and comes from the backbone alone: z does not depend on the
    head's weights, which may step as well or not. For a backbone that is linear in its weights
    there is no such rest. Momentum, weight decay and minibatches are not described.

    Args:
        kernel: kappa_t, (M, N, D, D), from the N training samples to the M that are watched;
            over the weights that take the step.
        direction: dq/dz, (K, D), the weight matrix of a linear head, or (N, K, D), one a sample.
        energy: Target minus prediction of each training sample, (N, K).
        learning_rate: eta.

    Returns:
        (M, D) of the kernel's dtype.

    Raises:
        DataError: If the shapes don't fit.
    """
    n_samples, n_features = _kernel_shape(kernel)[1:]
    direction = direction.expand(n_samples, *direction.shape) if direction.ndim == 2 else direction
    if direction.ndim != 3 or (*direction.shape[:2], n_features) != (*energy.shape, n_features):
        raise DataError(
            f"For {n_samples} training samples of {n_features} features, the energy must be "
            f"({n_samples}, K) and the direction (K, {n_features}) or ({n_samples}, K, "
            f"{n_features}), got {tuple(energy.shape)} and {tuple(direction.shape)}."
        )
    pull = torch.einsum("nkd,nk->nd", direction.to(kernel), energy.to(kernel))
    return learning_rate / n_samples * torch.einsum("mnde,ne->md", kernel, pull)


@dataclass(frozen=True)
class Drift:
    """How far a kernel went, as means over the pairs of samples.

    Attributes:
        step: ||kappa_t - kappa_{t-1}||_F, >= 0.
        from_start: ||kappa_t - kappa_0||_F, >= 0.
        relative_step: ``step`` over the mean of ||kappa_0||_F: backbones whose kernels differ in
            size, such as a random and a pretrained one, compare. NaN if kappa_0 is zero.
        relative_from_start: ``from_start``, likewise.
    """

    step: float
    from_start: float
    relative_step: float
    relative_from_start: float

    def to_dict(self) -> dict[str, float]:
        """Returns the four numbers by name."""
        return asdict(self)


class KernelDrift:
    """The drift of a kernel along finetuning, one kernel after the other ([Ren2023]_, Fig. 6).

    Holds the first kernel and the latest: N^2 D^2 numbers each, 164 MB for 50 samples of 128
    features in float32. Kernels are kept as they are given and must not be changed afterwards.
    """

    def __init__(self, kernel: Tensor) -> None:
        """Starts from kappa_0, (N, M, D, D)."""
        _kernel_shape(kernel)
        self._first = self._latest = kernel
        self._size = float(kernel_norms(kernel).mean())

    def update(self, kernel: Tensor) -> Drift:
        """Takes kappa_t of the same samples and returns how far it went.

        Raises:
            DataError: If the shape is not that of kappa_0.
        """
        step = float(kernel_norms(kernel, self._latest).mean())
        from_start = float(kernel_norms(kernel, self._first).mean())
        self._latest = kernel
        size = self._size if self._size > 0 else float("nan")
        return Drift(step, from_start, step / size, from_start / size)


def kernel_norms(kernel: Tensor, other: Tensor | None = None) -> Tensor:
    """Returns ||kappa(n, m)||_F of each pair, or that of the difference to another kernel.

    Args:
        kernel: (N, M, D, D), floating point.
        other: What to subtract, of the same shape; None for nothing.

    Returns:
        (N, M) float64, >= 0.

    Raises:
        DataError: If the shapes differ or aren't (N, M, D, D).
    """
    _kernel_shape(kernel)
    if other is not None and other.shape != kernel.shape:
        raise DataError(
            f"Both kernels must have one shape, got {tuple(kernel.shape)}, {tuple(other.shape)}."
        )
    norms = []
    for n, row in enumerate(kernel):  # row by row: the difference of all may not fit in memory
        difference = row if other is None else row - other[n]
        norms.append(torch.linalg.vector_norm(difference, dim=(1, 2), dtype=torch.float64))
    return torch.stack(norms)


def _columns(
    backbone: nn.Module,
    weights: dict[str, Tensor],
    inputs: Tensor,
    sample: Tensor,
    n_features: int,
    chunk_size: int,
) -> Iterator[tuple[int, Tensor]]:
    """Yields (j, columns j, j + 1, ... of kappa(., sample), (N, D, up to chunk_size))."""

    def features(b: dict[str, Tensor]) -> Tensor:
        z: Tensor = functional_call(backbone, b, (inputs,))
        return z

    def push(tangent: dict[str, Tensor]) -> Tensor:
        moved: Tensor = jvp(features, (weights,), (tangent,))[1]
        return moved

    z, pull = vjp(lambda b: functional_call(backbone, b, (sample,))[0], weights)[:2]
    for start in range(0, n_features, chunk_size):
        rows = range(start, min(start + chunk_size, n_features))
        one_hot = torch.zeros(len(rows), n_features, dtype=z.dtype, device=z.device)
        one_hot[range(len(rows)), rows] = 1
        (gradients,) = vmap(pull)(one_hot)
        yield start, vmap(push, out_dims=-1)(gradients)


def _weights(backbone: nn.Module, names: Collection[str] | None) -> dict[str, Tensor]:
    known = dict(backbone.named_parameters())
    if names is None:
        names = [name for name, weight in known.items() if weight.requires_grad]
    for name in names:
        if name not in known:
            raise unknown_name("parameter of the backbone", name, known)
    if not names:
        raise ConfigError("The kernel needs at least one parameter that counts, got none.")
    return {name: known[name].detach() for name in names}


def _n_features(backbone: nn.Module, sample: Tensor) -> int:
    features: Tensor = backbone(sample)
    if features.ndim != 2:
        raise DataError(
            "The backbone must give features (N, D), got "
            f"{tuple(features.shape)} for {tuple(sample.shape)}."
        )
    return features.shape[1]


def _kernel_shape(kernel: Tensor) -> tuple[int, int, int]:
    """Returns N, M and D."""
    if kernel.ndim != 4 or kernel.shape[2] != kernel.shape[3] or 0 in kernel.shape:
        raise DataError(f"A kernel must be (N, M, D, D), got shape {tuple(kernel.shape)}.")
    n, m, d, _ = kernel.shape
    return n, m, d


@contextmanager
def _differentiable_attention() -> Iterator[None]:
    """Keeps to attention that has forward-mode derivatives: neither fused nor fast paths."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
