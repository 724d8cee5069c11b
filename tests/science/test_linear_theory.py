from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.errors import DataError
from energytune.science import (
    LinearKernel,
    backbone_pull,
    empirical_kernel,
    head_with_outputs,
    linear_adaptation,
    linear_finetuned,
    linear_kernel,
    linear_outputs,
)

Problem = tuple[Tensor, Tensor, Tensor, Tensor]


def problem(seed: int = 0, n: int = 4, d: int = 7, h: int = 6) -> Problem:
    """X, Y, B_0 and v_0 with entries from N(0, 1), float64."""
    g = torch.Generator().manual_seed(seed)
    shapes = ((n, d), (n,), (h, d), (h,))
    x, y, b, v = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)
    return x, y, b, v


@st.composite
def problems(draw) -> Problem:
    n, h = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    return problem(draw(st.integers(0, 2**31)), n, n + draw(st.integers(1, 4)), h)


def descended(x: Tensor, y: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Independent reference: plain gradient descent on both, to convergence."""
    b, v = b.clone(), v.clone()
    features = x @ b.t()
    largest = torch.linalg.eigvalsh(features @ features.t() + (v @ v) * (x @ x.t()))[-1]
    for _ in range(5000):
        residual = y - x @ (b.t() @ v)
        if residual.norm() < 1e-12 * y.norm():
            return b, v
        pull = x.t() @ residual
        b, v = b + torch.outer(v, pull) / largest, v + b @ pull / largest
    raise AssertionError("gradient descent has not converged")


def close(a: Tensor | float, b: Tensor | float, tol: float = 1e-10) -> None:
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (a, b))
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


# against gradient descent


def lazy_errors(h: int, seed: int) -> Tensor:
    """Relative errors of B_T - B_0, v_T - v_0 and the squared distance, (3,)."""
    x, y, b, along = problem(seed, n=4, d=16, h=h)
    v = head_with_outputs(x, b, 0.3 * y, norm=h**0.5, direction=along)
    b_t, v_t = descended(x, y, b, v)
    b_lin, v_lin = linear_finetuned(x, y, b, v)
    theory = linear_adaptation(linear_outputs(x, b, v), y, linear_kernel(x, b, v), 1.0)
    distance = (b_t - b).square().sum()
    return torch.stack(
        [
            (b_lin - b_t).norm() / (b_t - b).norm(),
            (v_lin - v_t).norm() / (v_t - v).norm(),
            (theory.squared_distance - distance).abs() / distance,
        ]
    )


def test_gradient_descent_ends_where_the_theory_says_and_nearer_with_width() -> None:
    narrow, wide, wider = (
        torch.stack([lazy_errors(h, seed) for seed in range(3)]) for h in (16, 64, 256)
    )
    assert (wide < 0.01).all()
    assert (wide.mean(dim=0) < narrow.mean(dim=0) / 2).all()  # about 1 / h
    assert (wider.mean(dim=0) < wide.mean(dim=0) / 2).all()


def test_the_kernel_is_that_of_jacobians() -> None:
    x, _, b, v = problem()
    model = torch.nn.Sequential(torch.nn.Linear(7, 6, bias=False), torch.nn.Linear(6, 1, False))
    model.double().eval().load_state_dict({"0.weight": b, "1.weight": v[None]})
    kernel = linear_kernel(x, b, v)
    close(empirical_kernel(model, x, parameters=["0.weight"])[..., 0, 0], kernel.backbone)
    close(empirical_kernel(model, x, parameters=["1.weight"])[..., 0, 0], kernel.head)
    close(empirical_kernel(model, x)[..., 0, 0], kernel.total)


def test_the_linearised_model_fits_the_targets_with_the_least_move() -> None:
    x, y, b, v = problem()
    b_t, v_t = linear_finetuned(x, y, b, v)
    features = x @ b.t()
    jacobian = torch.cat([torch.einsum("i,nj->nij", v, x).flatten(1), features], dim=1)
    least = torch.linalg.lstsq(jacobian, y - features @ v, driver="gelsd").solution
    close(torch.cat([(b_t - b).flatten(), v_t - v]), least)


# identities


@settings(deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_lemma_1_for_any_weights_on_the_samples(made, seed) -> None:
    x, _, b, v = made
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(len(x), generator=generator, dtype=torch.float64)
    close((backbone_pull(x, v, a) * b).sum(), a @ linear_outputs(x, b, v))


@settings(deadline=None)
@given(problems())
def test_the_formulas_are_the_frobenius_products_of_the_matrices(made) -> None:
    x, y, b, v = made
    b_t, _ = linear_finetuned(x, y, b, v)
    before = float(b.square().sum())
    theory = linear_adaptation(linear_outputs(x, b, v), y, linear_kernel(x, b, v), before)
    scale = max(1.0, float(b_t.square().sum()))  # h < N and unlucky draws move far
    close(theory.squared_distance / scale, (b_t - b).square().sum() / scale, 1e-8)
    close(theory.dot / scale, (b_t * b).sum() / scale, 1e-8)
    close(theory.squared_norm / scale, b_t.square().sum() / scale, 1e-8)
    close(theory.cosine, (b_t * b).sum() / (b_t.norm() * b.norm()), 1e-8)


def test_many_outputs_at_once_are_each_alone() -> None:
    x, y, b, v = problem()
    kernel, shares = linear_kernel(x, b, v), torch.linspace(0, 1, 5, dtype=torch.float64)
    together = linear_adaptation(shares[:, None] * y, y, kernel, 9.0)
    for i, share in enumerate(shares):
        alone = linear_adaptation(share * y, y, kernel, 9.0)
        for name in ("squared_distance", "dot", "squared_norm", "cosine"):
            close(getattr(together, name)[i], getattr(alone, name))


def test_white_inputs_make_frobenius_products_means_over_features() -> None:
    x, y, b, v = problem()
    b_t, _ = linear_finetuned(x, y, b, v)
    white = 7**0.5 * torch.cat([torch.eye(7), -torch.eye(7)]).double()  # mean of x x^T is I
    before, after = white @ b.t(), white @ b_t.t()
    close((after - before).square().sum(dim=1).mean(), (b_t - b).square().sum())
    close((after * before).sum(dim=1).mean(), (b_t * b).sum())


# special values


@settings(deadline=None)
@given(problems())
def test_nothing_moves_where_the_head_already_fits(made) -> None:
    x, _, b, v = made
    y = linear_outputs(x, b, v)
    b_t, v_t = linear_finetuned(x, y, b, v)
    close(b_t, b)
    close(v_t, v)
    theory = linear_adaptation(y, y, linear_kernel(x, b, v), 2.0)
    assert float(theory.squared_distance) == 0.0
    assert (float(theory.dot), float(theory.squared_norm), float(theory.cosine)) == (2.0, 2.0, 1.0)


def test_without_outputs_the_backbone_moves_at_right_angles() -> None:
    x, y, _b, _v = problem()
    kernel = linear_kernel(x, _b, _v)
    theory = linear_adaptation(torch.zeros(4), y, kernel, 3.0)
    close(theory.dot, 3.0)
    close(theory.squared_norm, 3.0 + theory.squared_distance)


def test_one_sample_of_one_feature_by_hand() -> None:
    x, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 3.0]])
    v, y = torch.tensor([2.0]), torch.tensor([7.0])
    kernel = linear_kernel(x, b, v)  # z = 1, q = 2, K_v = 1, K_B = 4 * 4
    assert (kernel.head.item(), kernel.backbone.item()) == (1.0, 16.0)
    b_t, v_t = linear_finetuned(x, y, b, v)  # a = 5 / 17
    close(b_t, torch.tensor([[0.5 + 20 / 17, 3.0]], dtype=torch.float64))
    close(v_t, torch.tensor([2 + 5 / 17], dtype=torch.float64))


def test_a_zero_head_leaves_the_backbone_where_it_is() -> None:
    # the kernel of the backbone vanishes with the head, so "strong" needs more than q_0 = 0
    x, y, b, _ = problem()
    b_t, v_t = linear_finetuned(x, y, b, torch.zeros(6))
    close(b_t, b)
    close(linear_outputs(x, b, v_t), y)


# heads of one norm


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(-1, 1))
def test_heads_of_one_norm_share_the_kernel(seed, share) -> None:
    x, y, b, along = problem(seed, n=3, d=5, h=6)
    norm = 10 * float(torch.linalg.pinv(x @ b.t()).norm()) * float(y.norm())
    v = head_with_outputs(x, b, share * y, norm, along)
    close(linear_outputs(x, b, v) / norm, share * y / norm)
    close(v.norm() / norm, 1.0)
    close(linear_kernel(x, b, v).backbone / norm**2, x @ x.t())


def test_the_smallest_head_has_no_smaller_one() -> None:
    x, y, b, along = problem()
    least = torch.linalg.pinv(x @ b.t()) @ y
    assert float(head_with_outputs(x, b, y, 2 * float(least.norm()), along).norm()) > least.norm()
    with pytest.raises(DataError, match="The norm must be at least"):
        head_with_outputs(x, b, y, 0.99 * float(least.norm()), along)
    with pytest.raises(DataError, match="must not lie in the span"):
        head_with_outputs(x, b, y, 2 * float(least.norm()), least)
    with pytest.raises(DataError, match="must exceed N = 4 samples, got 4"):
        head_with_outputs(x, b[:4], y, 1e3, along[:4])


# errors


def test_as_many_samples_as_dimensions() -> None:
    x, y, b, v = problem(n=7, d=7)
    with pytest.raises(DataError, match=r"1 <= N < d \(overparameterised\), got shape \(7, 7\)"):
        linear_finetuned(x, y, b, v)
    with pytest.raises(DataError, match="1 <= N < d"):
        linear_kernel(x[:0], b, v)


def test_duplicate_samples() -> None:
    x, y, b, v = problem()
    x[3] = x[1]
    with pytest.raises(DataError, match=r"positive definite.*Are two samples the same"):
        linear_finetuned(x, y, b, v)


def test_a_zero_head_on_a_narrow_backbone() -> None:
    x, _, b, _ = problem(h=2)
    with pytest.raises(DataError, match="or is the head zero"):
        linear_kernel(x, b, torch.zeros(2))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y": torch.zeros(3)}, r"must be \(4,\), one for each sample, got shape \(3,\)"),
        ({"b": torch.zeros(6, 8)}, r"backbone must be \(h, 7\) with h >= 1"),
        ({"v": torch.zeros(5)}, r"head must be \(6,\), got shape \(5,\)"),
        ({"v": torch.full((6,), float("nan"))}, "must be finite"),
    ],
)
def test_parts_that_do_not_fit(change, told) -> None:
    parts = dict(zip("xybv", problem(), strict=True)) | change
    with pytest.raises(DataError, match=told):
        linear_finetuned(parts["x"], parts["y"], parts["b"], parts["v"])


def test_kernels_that_are_none() -> None:
    one = torch.eye(3)
    for head, backbone, told in (
        (one, torch.eye(2), r"one shape \(N, N\)"),
        (one, one.double(), "one floating-point dtype"),
        (one, one + torch.ones(3, 3).triu(1), "must be symmetric"),
        (-one, one, "must be positive definite"),
    ):
        with pytest.raises(DataError, match=told):
            LinearKernel(head, backbone)


def test_outputs_of_a_wrong_shape() -> None:
    kernel = LinearKernel(torch.eye(3), torch.eye(3))
    with pytest.raises(DataError, match=r"\(3,\) or \(P, 3\), got \(2,\)"):
        linear_adaptation(torch.zeros(2), torch.zeros(3), kernel, 1.0)
