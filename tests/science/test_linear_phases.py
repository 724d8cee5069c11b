from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.errors import DataError
from energytune.science import (
    AdaptationPhase,
    LinearAdaptation,
    LinearKernel,
    adaptation_phase,
    dot_maximum,
    head_share,
    linear_adaptation,
    norm_maximum,
    path_share,
    turning_share,
)


def random_kernel(seed: int, n: int, head_size: float = 1.0) -> tuple[LinearKernel, Tensor]:
    """A well-conditioned kernel and targets, float64."""
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, 3 * n, generator=g, dtype=torch.float64)
    y = torch.randn(n, generator=g, dtype=torch.float64)
    ridge = 0.1 * torch.eye(n, dtype=torch.float64)
    return LinearKernel(head_size * (a @ a.t() + ridge), b @ b.t() + ridge), y


kernels = st.builds(random_kernel, st.integers(0, 2**31), st.integers(1, 5), st.floats(0.01, 100))


def at(outputs: Tensor, y: Tensor, kernel: LinearKernel) -> LinearAdaptation:
    # ||B_0||^2 above (Y^T K^{-1} Y)^2 / (Y^T K^{-1} K_B K^{-1} Y): some backbone is like that
    pulled = kernel.solve(y)
    least = (y @ pulled) ** 2 / (pulled @ kernel.backbone @ pulled)
    return linear_adaptation(outputs, y, kernel, 1.5 * float(least))


def gradient(name: str, outputs: Tensor, y: Tensor, kernel: LinearKernel) -> Tensor:
    q = outputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(getattr(at(q, y, kernel), name), q)
    return slope


# critical points


@settings(deadline=None, max_examples=50)
@given(kernels)
def test_gradients_vanish_at_the_critical_points(made) -> None:
    kernel, y = made
    for name, point in (
        ("dot", dot_maximum(y)),
        ("squared_norm", norm_maximum(y, kernel)),
        ("squared_distance", y),
    ):
        unit = gradient(name, torch.zeros_like(y), y, kernel).norm() + kernel.solve(y).norm()
        assert float(gradient(name, point, y, kernel).norm()) < 1e-10 * float(unit)


@settings(deadline=None, max_examples=50)
@given(kernels, st.integers(0, 2**31), st.floats(1e-3, 10.0))
def test_they_are_extrema_against_every_perturbation(made, seed, size) -> None:
    kernel, y = made
    g = torch.Generator().manual_seed(seed)
    nudged = size * torch.randn(8, len(y), generator=g, dtype=torch.float64)
    for name, point, sign in (
        ("dot", dot_maximum(y), -1),
        ("squared_norm", norm_maximum(y, kernel), -1),
        ("squared_distance", y, 1),
    ):
        change = getattr(at(point + nudged, y, kernel), name) - getattr(at(point, y, kernel), name)
        assert (sign * change > 0).all(), name


@settings(deadline=None, max_examples=50)
@given(kernels)
def test_the_norms_critical_point_is_always_a_maximum(made) -> None:
    kernel, y = made
    hessian = torch.autograd.functional.hessian(
        lambda q: at(q, y, kernel).squared_norm, torch.zeros_like(y)
    )
    inverse = torch.linalg.inv(kernel.total)
    expected = -2 * (inverse + inverse @ kernel.head @ inverse)
    torch.testing.assert_close(hessian, expected, rtol=1e-8, atol=1e-10)
    assert float(torch.linalg.eigvalsh(hessian)[-1]) < 0


@settings(deadline=None)
@given(kernels)
def test_the_head_ratio_has_eigenvalues_of_a_share(made) -> None:
    kernel, _ = made
    values = torch.linalg.eigvals(kernel.head_ratio)
    assert float(values.imag.abs().max()) < 1e-8
    assert -1e-10 <= float(values.real.min()) <= float(values.real.max()) <= 1 + 1e-10
    torch.testing.assert_close(kernel.head_ratio @ kernel.total, kernel.head)


# limits


@pytest.mark.parametrize(("size", "share"), [(1e-9, 0.0), (1e9, 0.5)])
def test_limits_where_backbone_or_head_dominates(size, share) -> None:
    kernel, y = random_kernel(0, 4, size)
    torch.testing.assert_close(norm_maximum(y, kernel), share * y, rtol=0, atol=1e-7)
    assert turning_share(y, kernel) == pytest.approx(share, abs=1e-7)


def test_a_kernel_of_one_part_only() -> None:
    definite, zero = random_kernel(0, 3)[0].total, torch.zeros(3, 3, dtype=torch.float64)
    y = torch.tensor([1.0, -2.0, 0.5])
    backbone_only, head_only = LinearKernel(zero, definite), LinearKernel(definite, zero)
    assert turning_share(y, backbone_only) == 0.0
    assert turning_share(y, head_only) == pytest.approx(0.5, rel=1e-12)
    assert adaptation_phase(0 * y, y, backbone_only) is AdaptationPhase.TURNING  # none shrinks
    assert adaptation_phase(0.49 * y, y, head_only) is AdaptationPhase.SHRINKING  # none turns
    still = linear_adaptation(torch.zeros(3), y, head_only, 1.0)
    assert float(still.squared_distance) == 0.0


@pytest.mark.parametrize("head_size", [0.25, 1.0, 4.0])
def test_proportional_kernels_turn_at_lemma_3(head_size) -> None:
    backbone = random_kernel(1, 4)[0].total
    kernel, y = LinearKernel(head_size * backbone, backbone), torch.arange(1.0, 5.0).double()
    rho = head_size / (1 + head_size)
    assert head_share(y, kernel) == pytest.approx(rho, rel=1e-12)
    assert turning_share(y, kernel) == pytest.approx(rho / (1 + rho), rel=1e-12)
    torch.testing.assert_close(norm_maximum(y, kernel), rho / (1 + rho) * y)


# the path from Y to 0


@settings(deadline=None, max_examples=30)
@given(kernels)
def test_phases_come_in_order_and_do_what_their_names_say(made) -> None:
    kernel, y = made
    shares = torch.linspace(1, 0, 41, dtype=torch.float64)
    path = at(shares[:, None] * y, y, kernel)
    phases = [adaptation_phase(share * y, y, kernel) for share in shares]
    assert phases == sorted(phases)
    assert phases[0] is AdaptationPhase.STRETCHING
    slack = 1e-12 * float(path.squared_norm.max())
    assert (path.squared_distance.diff() > -slack).all()
    assert (path.cosine.diff() < 1e-12).all()  # the angle grows all the way
    for i, (phase, following) in enumerate(pairwise(phases)):
        if phase is not following:
            continue  # the turn is between two points of the grid
        longer, nearer = float(path.squared_norm.diff()[i]), float(path.dot.diff()[i])
        assert longer * (-1 if phase is AdaptationPhase.SHRINKING else 1) > -slack
        assert nearer * (1 if phase is AdaptationPhase.STRETCHING else -1) > -slack


@settings(deadline=None)
@given(kernels)
def test_the_norm_turns_where_the_share_says(made) -> None:
    kernel, y = made
    turn = turning_share(y, kernel)
    assert 0 <= turn <= 0.5
    slope = gradient("squared_norm", turn * y, y, kernel) @ y
    assert abs(float(slope)) < 1e-9 * float(y @ kernel.solve(y))


def test_the_path_misses_the_norms_maximum() -> None:
    kernel, y = random_kernel(3, 4)
    on_path = at(turning_share(y, kernel) * y, y, kernel).squared_norm
    assert float(at(norm_maximum(y, kernel), y, kernel).squared_norm) > 1.0001 * float(on_path)


def test_on_a_curved_path_the_distance_can_rise_as_the_head_is_probed() -> None:
    # one step of head probing takes the residual from r to r - eta K_v r
    head = torch.diag(torch.tensor([10.0, 0.1], dtype=torch.float64))
    backbone = torch.tensor([[1.0, 0.95], [0.95, 1.0]], dtype=torch.float64)
    kernel, y = LinearKernel(head, backbone), torch.zeros(2, dtype=torch.float64)
    inverse = torch.linalg.inv(kernel.total)
    rate = inverse @ backbone @ inverse @ head
    residual = torch.linalg.eigh(rate + rate.t()).eigenvectors[:, 0]
    before, after = (
        linear_adaptation(y - r, y, kernel, 1.0).squared_distance
        for r in (residual, residual - 0.01 * head @ residual)
    )
    assert float(after) > float(before)


@settings(deadline=None)
@given(kernels, st.floats(-2, 2))
def test_the_share_on_the_path_is_read_back(made, share) -> None:
    kernel, y = made
    assert path_share(share * y, y, kernel) == pytest.approx(share, abs=1e-9)


def test_beyond_the_ends_the_phase_is_that_of_the_end() -> None:
    kernel, y = random_kernel(0, 3)
    assert adaptation_phase(1.3 * y, y, kernel) is AdaptationPhase.STRETCHING
    assert adaptation_phase(-0.3 * y, y, kernel) is AdaptationPhase.SHRINKING


def test_a_path_needs_targets() -> None:
    kernel, y = random_kernel(0, 3)
    with pytest.raises(DataError, match="targets that are not all 0"):
        turning_share(0 * y, kernel)
    with pytest.raises(DataError, match=r"must be \(3,\)"):
        path_share(torch.zeros(2), y, kernel)
