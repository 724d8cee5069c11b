from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.errors import DataError
from energytune.science import (
    LinearKernel,
    dot_maximum,
    flow_adaptation,
    flow_dot_maximum,
    flow_turning_share,
    head_with_outputs,
    linear_adaptation,
    linear_kernel,
)


@dataclass(frozen=True)
class Problem:
    """X, Y, B_0, v_0 with q_0 = share * Y, entries from N(0, 1), float64."""

    x: Tensor
    y: Tensor
    b: Tensor
    v: Tensor

    @classmethod
    def drawn(cls, h: int, seed: int = 0, share: float = 0.3) -> Problem:
        g = torch.Generator().manual_seed(seed)
        shapes = ((4, 16), (4,), (h, 16), (h,))
        x, y, b, along = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)
        return cls(x, y, b, head_with_outputs(x, b, share * y, h**0.5, along))

    @property
    def kernel(self) -> LinearKernel:
        return linear_kernel(self.x, self.b, self.v)

    @property
    def outputs(self) -> Tensor:
        return self.x @ (self.b.t() @ self.v)

    def slopes(self, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Minus the gradient of the loss."""
        pull = self.x.t() @ (self.y - self.x @ (b.t() @ v))
        return torch.outer(v, pull), b @ pull

    def descended(self, rate: float) -> tuple[Tensor, Tensor]:
        """Plain gradient descent, with a rate in parts of the inverse of K's largest value."""
        b, v, step = self.b, self.v, rate / self._largest()
        while (self.y - self.x @ (b.t() @ v)).norm() > 1e-6 * self.y.norm():
            of_b, of_v = self.slopes(b, v)
            b, v = b + step * of_b, v + step * of_v
        return b, v

    def flowed(self, rate: float = 0.2) -> tuple[Tensor, Tensor]:
        """Gradient flow, by Runge-Kutta of fourth order."""
        b, v, step = self.b, self.v, rate / self._largest()
        while (self.y - self.x @ (b.t() @ v)).norm() > 1e-7 * self.y.norm():
            k1, l1 = self.slopes(b, v)
            k2, l2 = self.slopes(b + step / 2 * k1, v + step / 2 * l1)
            k3, l3 = self.slopes(b + step / 2 * k2, v + step / 2 * l2)
            k4, l4 = self.slopes(b + step * k3, v + step * l3)
            b = b + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            v = v + step / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
        return b, v

    def _largest(self) -> float:
        return float(torch.linalg.eigvalsh(self.kernel.total)[-1])

    def errors(self, b_t: Tensor, *, flow: bool) -> Tensor:
        """Relative errors of squared distance, change of dot and change of squared norm, (3,)."""
        predict = flow_adaptation if flow else linear_adaptation
        before = float(self.b.square().sum())
        theory = predict(self.outputs, self.y, self.kernel, before)
        moved = b_t - self.b
        distance, dot = moved.square().sum(), (moved * self.b).sum()
        real = torch.stack([distance, dot, 2 * dot + distance])
        told = torch.stack(
            [theory.squared_distance, theory.dot - before, theory.squared_norm - before]
        )
        return ((told - real) / real).abs()


def random_kernel(seed: int, n: int, head_size: float = 1.0) -> tuple[LinearKernel, Tensor]:
    """A well-conditioned kernel and targets, float64."""
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, 3 * n, generator=g, dtype=torch.float64)
    y = torch.randn(n, generator=g, dtype=torch.float64)
    ridge = 0.1 * torch.eye(n, dtype=torch.float64)
    return LinearKernel(head_size * (a @ a.t() + ridge), b @ b.t() + ridge), y


kernels = st.builds(random_kernel, st.integers(0, 2**31), st.integers(1, 5), st.floats(0.01, 100))


# against gradient descent


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_gradient_flow_ends_where_the_theory_says_and_nearer_with_width(share) -> None:
    narrow, wide = (
        torch.stack([made.errors(made.flowed()[0], flow=True) for made in problems])
        for problems in ([Problem.drawn(h, seed, share) for seed in range(2)] for h in (16, 64))
    )
    assert (wide < 0.01).all()
    assert (wide.mean(dim=0) < narrow.mean(dim=0) / 4).all()


def test_gradient_descent_does_so_as_its_rate_falls() -> None:
    made = Problem.drawn(64)
    coarse, fine = (made.errors(made.descended(rate)[0], flow=True) for rate in (0.1, 0.05))
    assert (fine < 0.01).all()
    assert float(coarse[1] / fine[1]) == pytest.approx(2.0, rel=0.1)
    assert float(coarse[2] / fine[2]) == pytest.approx(2.0, rel=0.1)


def test_width_does_not_help_the_papers_dot_product_and_norm() -> None:
    for h in (16, 256):
        made = Problem.drawn(h)
        distance, dot, norm = made.errors(made.flowed(0.5)[0], flow=False).tolist()
        assert distance < 0.001
        assert min(dot, norm) > 0.1


def test_backbone_and_head_grow_alike() -> None:
    made = Problem.drawn(16)
    b_t, v_t = made.flowed()
    grown = b_t.square().sum() - made.b.square().sum()
    assert float(v_t.square().sum() - made.v.square().sum()) == pytest.approx(float(grown))
    # the formula is symmetric in the two parts of the kernel, as that law wants it
    kernel = made.kernel
    swapped = LinearKernel(head=kernel.backbone, backbone=kernel.head)
    told, other = (
        flow_adaptation(made.outputs, made.y, k, 0.0).squared_norm for k in (kernel, swapped)
    )
    torch.testing.assert_close(told, other, rtol=1e-10, atol=0)


# identities


@settings(deadline=None)
@given(kernels, st.integers(0, 2**31))
def test_the_norm_by_its_short_form_and_the_distance_by_the_law_of_cosines(made, seed) -> None:
    kernel, y = made
    q = torch.randn(len(y), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    told = flow_adaptation(q, y, kernel, 2.0)
    scale = float(y @ kernel.solve(y) + q @ kernel.solve(q))
    short = 2.0 + y @ kernel.solve(y) - q @ kernel.solve(q)
    assert float((told.squared_norm - short).abs()) < 1e-10 * (2 + scale)
    cosines = told.squared_norm + 2.0 - 2 * told.dot - told.squared_distance
    assert abs(float(cosines)) < 1e-10 * (2 + scale)


def test_without_a_head_in_the_kernel_the_paper_is_right() -> None:
    definite, y = random_kernel(0, 3)[0].total, torch.tensor([1.0, -2.0, 0.5])
    kernel = LinearKernel(torch.zeros_like(definite), definite)
    flow, linear = (f(0.2 * y, y, kernel, 5.0) for f in (flow_adaptation, linear_adaptation))
    for name in ("squared_distance", "dot", "squared_norm", "cosine"):
        assert float(getattr(flow, name)) == float(getattr(linear, name))
    torch.testing.assert_close(flow_dot_maximum(y, kernel), dot_maximum(y).double())
    assert flow_turning_share(y, kernel) == 0.5


def test_without_a_backbone_in_the_kernel_only_the_head_learns() -> None:
    definite, y = random_kernel(0, 3)[0].total, torch.tensor([1.0, -2.0, 0.5])
    kernel = LinearKernel(definite, torch.zeros_like(definite))
    assert float(flow_adaptation(0.2 * y, y, kernel, 5.0).squared_distance) == 0.0
    assert flow_turning_share(y, kernel) == pytest.approx(0.0, abs=1e-12)


# critical points


@settings(deadline=None, max_examples=50)
@given(kernels)
def test_gradients_vanish_at_the_maxima(made) -> None:
    kernel, y = made
    for name, point in (
        ("dot", flow_dot_maximum(y, kernel)),
        ("squared_norm", torch.zeros_like(y)),
        ("squared_distance", y),
    ):
        q = point.clone().requires_grad_()
        (slope,) = torch.autograd.grad(getattr(flow_adaptation(q, y, kernel, 1.0), name), q)
        assert float(slope.norm()) < 1e-10 * float(kernel.solve(y).norm()), name


@settings(deadline=None, max_examples=50)
@given(kernels, st.integers(0, 2**31), st.floats(1e-3, 10.0))
def test_they_are_maxima_against_every_perturbation(made, seed, size) -> None:
    kernel, y = made
    g = torch.Generator().manual_seed(seed)
    nudged = size * torch.randn(8, len(y), generator=g, dtype=torch.float64)
    for name, point in (("dot", flow_dot_maximum(y, kernel)), ("squared_norm", 0 * y)):
        top = getattr(flow_adaptation(point, y, kernel, 1.0), name)
        around = getattr(flow_adaptation(point + nudged, y, kernel, 1.0), name)
        assert (around < top).all(), name


@settings(deadline=None, max_examples=50)
@given(kernels)
def test_on_the_path_the_norm_only_grows_and_the_dot_product_turns_once(made) -> None:
    kernel, y = made
    shares = torch.linspace(1, 0, 41, dtype=torch.float64)
    path = flow_adaptation(shares[:, None] * y, y, kernel, 1.0)
    assert (path.squared_norm.diff() > 0).all()
    turn = flow_turning_share(y, kernel)
    assert 0 <= turn <= 0.5
    before, after = shares[1:] >= turn, shares[:-1] <= turn
    assert (path.dot.diff()[before] > 0).all()
    assert (path.dot.diff()[after] < 0).all()


# errors


def test_parts_that_do_not_fit() -> None:
    kernel, y = random_kernel(0, 3)
    with pytest.raises(DataError, match=r"\(3,\) or \(P, 3\), got \(2,\)"):
        flow_adaptation(torch.zeros(2), y, kernel, 1.0)
    with pytest.raises(DataError, match=r"must be \(3,\)"):
        flow_dot_maximum(torch.zeros(2), kernel)
    with pytest.raises(DataError, match="not all 0"):
        flow_turning_share(0 * y, kernel)
