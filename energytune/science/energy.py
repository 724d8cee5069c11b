"""Average initial energy (AIE): how much a head still pulls on the features.

[Ren2023]_, Proposition 1: E_n ||z_T - z_0||_2 <= c * E_aie with E_aie = E_n ||e_y - p_0||_2,
where p_0 is the prediction on the training set at the start of finetuning, that is at the end
of head probing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energytune.errors import DataError

__all__ = [
    "average_initial_energy",
    "class_balanced_energy",
    "energy_per_label",
    "label_balanced_energy",
    "linear_pull_norm",
    "linear_pull_norms",
    "mean_energy",
    "residual_norms",
]


def residual_norms(residual: Tensor) -> Tensor:
    """Returns the energy of each sample or pixel, ||e_y - p||_2 over dimension 1, in float64.

    Args:
        residual: Target minus predicted probability, (N, K, *rest), floating point.

    Returns:
        (N, *rest) float64, >= 0.
    """
    norms: Tensor = torch.linalg.vector_norm(residual, dim=1, dtype=torch.float64)
    return norms


def mean_energy(norms: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Returns the mean over samples or pixels, for one head or many.

    Args:
        norms: (N, *T), or (N, *T, M) for M heads.
        labelled: Which samples or pixels count, (N, *T) bool. None counts all of dimension 0.

    Returns:
        Scalar or (M,) float64.

    Raises:
        DataError: If no sample counts.
    """
    counted = norms if labelled is None else norms[labelled]
    _require_some(counted)
    return counted.double().mean(dim=0)


def average_initial_energy(residual: Tensor, labelled: Tensor | None = None) -> float:
    """Returns the mean L2 norm of the residuals, E_aie of [Ren2023]_.

    Norms and their mean are taken in float64, so that the order and number of samples do not
    show in the result.

    Args:
        residual: e_y - p_0, target minus predicted probability, (N, K), N >= 1, floating point.
            Against smoothed targets where finetuning smooths its targets.
        labelled: Which samples have a label, (N,) bool; None where all have. A sample without
            a label has no energy, and counts as absent rather than as 0.

    Returns:
        A number in [0, sqrt(2)] for softmax: 0 if every prediction is certain and right,
        sqrt(2) if every prediction is certain and wrong. In [0, sqrt(K)] for K sigmoids.

    Raises:
        DataError: If there is no labelled sample, or the residuals are not (N, K).
    """
    if residual.ndim != 2 or residual.shape[0] == 0:
        raise DataError(
            "The residuals of the average initial energy must be (N, K) with N >= 1, "
            f"got shape {tuple(residual.shape)}."
        )
    return float(mean_energy(residual_norms(residual), labelled))


def class_balanced_energy(norms: Tensor, classes: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Returns the mean over the classes that occur of the class's own mean energy.

    The plain mean is that of the commonest class: with a large background, or few positives, an
    empty head looks converged.

    Args:
        norms: (N, *T), or (N, *T, M) for M heads, as made by :func:`residual_norms`.
        classes: Class of each, (N, *T) int64.
        labelled: Which samples or pixels count, (N, *T) bool. None counts all.

    Returns:
        Scalar or (M,) float64.

    Raises:
        DataError: If no sample counts.
    """
    if labelled is not None:
        norms, classes = norms[labelled], classes[labelled]
    heads = norms.shape[classes.ndim :]
    norms, classes = norms.reshape(-1, *heads).double(), classes.flatten()
    _require_some(norms)
    # sorted rather than scattered: sums in a fixed order, also on a GPU
    ordered, order = classes.sort(stable=True)
    n_each: list[int] = torch.unique_consecutive(ordered, return_counts=True)[1].tolist()
    of_class = torch.split(norms[order], n_each)
    return torch.stack([part.mean(dim=0) for part in of_class]).mean(dim=0)


def label_balanced_energy(residual: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean over all (label, yes or no) that occur of the mean |y - p| there.

    :func:`class_balanced_energy` for multi-label targets: a rare yes weighs as much as the
    many no.

    Args:
        residual: y - p, (N, L), or (N, L, M) for M heads.
        targets: (N, L), 1 for yes, 0 for no, NaN or negative for missing.

    Returns:
        Scalar or (M,) float64 in [0, 1].

    Raises:
        DataError: If no label is there.
    """
    label = torch.arange(targets.shape[1], device=targets.device)
    groups = 2 * label + (targets > 0)
    return class_balanced_energy(residual.abs(), groups, targets >= 0)


def energy_per_label(residual: Tensor, labelled_entries: Tensor) -> Tensor:
    """Returns the mean over samples of ||e||_2 / sqrt(number of the sample's labels).

    For showing: unlike the average initial energy it does not grow with the number of labels,
    so that samples and data sets of different coverage compare.

    Args:
        residual: (N, L), or (N, L, M) for M heads; 0 where there is no label.
        labelled_entries: Where there is a label, (N, L) bool. Samples without one do not count.

    Returns:
        Scalar or (M,) float64, in [0, 1] for sigmoids.

    Raises:
        DataError: If no label is there.
    """
    n_labels = labelled_entries.sum(dim=1)
    norms = residual_norms(residual)
    roots = n_labels.double().sqrt().reshape(-1, *(1 for _ in norms.shape[1:]))
    return mean_energy(norms / roots.clamp_min(1.0), n_labels > 0)


def linear_pull_norms(residual: Tensor, weight: Tensor) -> Tensor:
    """Returns ||W^T e||_2 of each sample: how hard a linear head pulls on the features.

    Minus W^T e is the gradient of the summed loss with respect to the features; it can rise
    while the energy ||e|| falls, where the head's norm grows. With fewer classes than features
    it is the root of e^T (W W^T) e, which needs no (N, D) product.

    Args:
        residual: (N, K), or (N, K, M) for M heads.
        weight: (D, K), or (D, K, M): the transpose of what ``torch.nn.Linear`` holds.

    Returns:
        (N,) or (N, M) float64, >= 0. Below about 1e-8 ||W|| ||e|| the root through W W^T is
        rounding.
    """
    if residual.ndim == 3:
        # head by head: in float64, all at once would be several times the weights
        heads = zip(residual.unbind(dim=2), weight.unbind(dim=2), strict=True)
        return torch.stack([linear_pull_norms(e, w) for e, w in heads], dim=1)
    e, w = residual.double(), weight.double()
    if w.shape[1] >= w.shape[0]:
        return residual_norms(e @ w.t())
    return ((e @ (w.t() @ w)) * e).sum(dim=1).clamp_min(0.0).sqrt()


def linear_pull_norm(residual: Tensor, weight: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Returns the mean of :func:`linear_pull_norms` over the samples that have a label.

    Args:
        residual: (N, K), or (N, K, M) for M heads.
        weight: (D, K), or (D, K, M).
        labelled: Which samples count, (N,) bool; None counts all.

    Returns:
        Scalar or (M,) float64, >= 0.

    Raises:
        DataError: If no sample counts.
    """
    return mean_energy(linear_pull_norms(residual, weight), labelled)


def _require_some(norms: Tensor) -> None:
    if norms.shape[0] == 0:
        raise DataError(
            "An energy is a mean over labelled samples and needs at least one, got 0. "
            "Give data with labels."
        )
