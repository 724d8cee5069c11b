from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import DataError
from energytune.science import average_initial_energy, linear_pull_norm, linear_pull_norms
from energytune.tasks import Multiclass, MultiLabel


@pytest.mark.parametrize(("n_features", "n_classes"), [(12, 3), (3, 3), (2, 5), (1, 1)])
def test_the_pull_is_the_direct_product(n_features, n_classes) -> None:
    generator = torch.Generator().manual_seed(0)
    residual = torch.randn(9, n_classes, 4, generator=generator)
    weight = torch.randn(n_features, n_classes, 4, generator=generator)
    direct = torch.einsum("nkm,dkm->ndm", residual.double(), weight.double()).norm(dim=1)
    norms = linear_pull_norms(residual, weight)
    torch.testing.assert_close(norms, direct)
    torch.testing.assert_close(linear_pull_norm(residual, weight), direct.mean(dim=0))
    assert torch.equal(linear_pull_norms(residual[..., 1], weight[..., 1]), norms[:, 1])


@pytest.mark.parametrize("task", [Multiclass(4), MultiLabel(4)])
def test_the_pull_is_the_gradient_by_the_features(task) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 10, generator=generator).double().requires_grad_()
    head = torch.nn.Linear(10, 4).double()
    targets = torch.arange(6) % 4
    if isinstance(task, MultiLabel):
        targets = torch.randint(-1, 2, (6, 4), generator=generator)
        targets[5] = -1
    logits = head(features)
    summed = task.loss(logits, targets) * task.n_labelled(targets)
    (gradient,) = torch.autograd.grad(summed, features)
    residual, weight = task.residual(logits.detach(), targets), head.weight.detach().t()
    torch.testing.assert_close(linear_pull_norms(residual, weight), gradient.norm(dim=1))
    labelled = task.labelled(targets)
    torch.testing.assert_close(
        linear_pull_norm(residual, weight, labelled), gradient.norm(dim=1)[labelled].mean()
    )


def test_a_pull_that_cancels_is_zero_and_not_nan() -> None:
    # all classes share a weight vector, and residuals sum to zero
    weight = torch.randn(8, 1, generator=torch.Generator().manual_seed(0)).expand(8, 3)
    residual = torch.tensor([[0.7, -0.3, -0.4], [0.1, 0.2, -0.3], [0.0, 0.0, 0.0]])
    norms = linear_pull_norms(residual, weight)
    assert bool((norms >= 0).all())
    assert float(norms.max()) < 1e-6


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_the_pull_grows_with_the_head_while_the_energy_stays(seed, factor) -> None:
    generator = torch.Generator().manual_seed(seed)
    residual = torch.randn(5, 3, generator=generator).double()
    weight = torch.randn(7, 3, generator=generator).double()
    pull = float(linear_pull_norm(residual, weight))
    assert float(linear_pull_norm(residual, factor * weight)) == pytest.approx(factor * pull)
    # no more than the largest stretch of the head times the energy
    bound = float(torch.linalg.matrix_norm(weight, 2)) * average_initial_energy(residual)
    assert pull <= bound * (1 + 1e-9)


def test_no_labelled_sample_has_no_mean_pull() -> None:
    with pytest.raises(DataError, match="needs at least one, got 0"):
        linear_pull_norm(torch.zeros(0, 3), torch.zeros(4, 3))
