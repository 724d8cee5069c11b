from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from energytune.errors import ConfigError, DataError, UnknownNameError
from energytune.science import (
    KernelDrift,
    empirical_kernel,
    kernel_norms,
    predicted_feature_step,
)


class ConvNet(nn.Module):
    """Batch and group norm, in-place ReLU, max pooling and an in-place residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.block = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.GroupNorm(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.block(x)
        y += x
        return self.norm(y).mean((2, 3))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.project = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(self.layer(x)).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(q, k, v).mean(1)


def mlp(sizes: tuple[int, ...] = (4, 6, 3)) -> nn.Module:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*layers)


def made(kind: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """A backbone in evaluation mode and four samples for it."""
    torch.manual_seed(0)
    make, shape = {
        "mlp": (mlp, (4,)),
        "conv": (ConvNet, (2, 8, 8)),
        "attention": (Attention, (3, 4)),
    }[kind]
    backbone = make().to(dtype)
    inputs = torch.randn(4, *shape, dtype=dtype)
    if kind == "conv":
        backbone(3 * inputs + 1)  # batch norm then has statistics that are not 0 and 1
    return backbone.eval(), inputs


def naive_kernel(
    backbone: nn.Module, inputs: Tensor, others: Tensor, names: list[str] | None = None
) -> Tensor:
    """Independent reference: one gradient a sample and feature, by plain autograd."""
    weights = [w for n, w in backbone.named_parameters() if names is None or n in names]

    def jacobian(x: Tensor) -> Tensor:
        rows = []
        for feature in backbone(x[None])[0]:
            parts = torch.autograd.grad(feature, weights, retain_graph=True)
            rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows)

    return torch.stack(
        [torch.stack([jacobian(a) @ jacobian(b).t() for b in others]) for a in inputs]
    )


# the kernel


@pytest.mark.parametrize("kind", ["mlp", "conv", "attention"])
@pytest.mark.parametrize("chunk_size", [1, 2, 16])
def test_equals_plain_autograd(kind, chunk_size) -> None:
    backbone, inputs = made(kind)
    kernel = empirical_kernel(backbone, inputs, chunk_size=chunk_size)
    expected = naive_kernel(backbone, inputs, inputs)
    torch.testing.assert_close(kernel, expected, rtol=1e-10, atol=1e-12)
    assert not kernel.requires_grad


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_between_two_sets_of_samples(kind) -> None:
    backbone, inputs = made(kind)
    kernel = empirical_kernel(backbone, inputs[:3], inputs[2:])
    expected = naive_kernel(backbone, inputs[:3], inputs[2:])
    assert kernel.shape[:2] == (3, 2)
    torch.testing.assert_close(kernel, expected, rtol=1e-10, atol=1e-12)


def test_float32_is_that_of_float64_up_to_rounding() -> None:
    backbone, inputs = made("conv", torch.float32)
    kernel = empirical_kernel(backbone, inputs)
    assert kernel.dtype == torch.float32
    exact = naive_kernel(backbone.double(), inputs.double(), inputs.double())
    torch.testing.assert_close(kernel.double(), exact, rtol=1e-4, atol=1e-5)


def test_only_the_named_or_the_trainable_weights_count() -> None:
    backbone, inputs = made("mlp")
    last = ["2.weight", "2.bias"]
    expected = naive_kernel(backbone, inputs, inputs, last)
    torch.testing.assert_close(empirical_kernel(backbone, inputs, parameters=last), expected)
    for weight in backbone[0].parameters():
        weight.requires_grad_(False)
    torch.testing.assert_close(empirical_kernel(backbone, inputs), expected)


def test_kernels_of_disjoint_weights_add_up() -> None:
    backbone, inputs = made("conv")
    names = [name for name, _ in backbone.named_parameters()]
    parts = [empirical_kernel(backbone, inputs, parameters=[name]) for name in names]
    torch.testing.assert_close(sum(parts), empirical_kernel(backbone, inputs))


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_backbone_has_a_closed_form(bias) -> None:
    backbone = nn.Linear(5, 3, bias=bias).double().eval()
    inputs = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gram = inputs @ inputs.t() + (1.0 if bias else 0.0)
    expected = gram[:, :, None, None] * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(empirical_kernel(backbone, inputs), expected, rtol=1e-12, atol=1e-12)


def test_the_backbone_is_left_as_it_was() -> None:
    backbone, inputs = made("conv")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    empirical_kernel(backbone, inputs)
    torch.testing.assert_close(dict(backbone.state_dict()), before, rtol=0, atol=0)
    assert all(w.grad is None and w.requires_grad for w in backbone.parameters())
    assert torch.backends.mha.get_fastpath_enabled()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), width=st.integers(1, 6), n_samples=st.integers(1, 4))
def test_it_is_symmetric_and_never_negative(seed, width, n_samples) -> None:
    torch.manual_seed(seed)
    backbone = mlp((3, width, 2)).double().eval()
    inputs = torch.randn(n_samples, 3, dtype=torch.float64)
    kernel = empirical_kernel(backbone, inputs, inputs)  # both halves computed, none mirrored
    torch.testing.assert_close(kernel, kernel.permute(1, 0, 3, 2), rtol=1e-12, atol=1e-12)
    # as one matrix over (sample, feature) it is J J^T
    flat = kernel.permute(0, 2, 1, 3).reshape(2 * n_samples, 2 * n_samples)
    values = torch.linalg.eigvalsh(flat)
    assert values[0] >= -1e-12 * max(1.0, float(values[-1]))


# one step of gradient descent


def stepped(
    backbone: nn.Module, head: nn.Linear, inputs: Tensor, classes: Tensor, learning_rate: float
) -> tuple[Tensor, Tensor]:
    """The real move of the features in one step on all weights, and the predicted one."""
    before = backbone(inputs)
    logits = head(before)
    energy = nn.functional.one_hot(classes, logits.shape[1]) - logits.softmax(dim=1)
    predicted = predicted_feature_step(
        empirical_kernel(backbone, inputs), head.weight.detach(), energy.detach(), learning_rate
    )
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=learning_rate)
    nn.functional.cross_entropy(logits, classes).backward()
    optimizer.step()
    return (backbone(inputs) - before).detach(), predicted


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_what_a_step_leaves_out_is_quadratic_in_the_learning_rate(kind) -> None:
    rests = []
    for learning_rate in (0.02, 0.01, 0.005):
        backbone, inputs = made(kind)
        head = nn.Linear(backbone(inputs).shape[1], 3).double()
        real, predicted = stepped(backbone, head, inputs, torch.tensor([0, 2, 1, 1]), learning_rate)
        rests.append(float((real - predicted).norm()))
        assert rests[-1] < 0.05 * float(real.norm())
    assert rests[0] / rests[1] == pytest.approx(4.0, rel=0.1)
    assert rests[1] / rests[2] == pytest.approx(4.0, rel=0.1)


def test_a_step_of_a_linear_backbone_is_predicted_exactly() -> None:
    torch.manual_seed(0)
    backbone, head = nn.Linear(5, 4).double().eval(), nn.Linear(4, 3).double()
    inputs = torch.randn(6, 5, dtype=torch.float64)
    real, predicted = stepped(backbone, head, inputs, torch.arange(6) % 3, learning_rate=0.7)
    torch.testing.assert_close(real, predicted, rtol=1e-10, atol=1e-12)


def test_a_step_moves_samples_that_are_not_trained_on() -> None:
    backbone, inputs = made("mlp")
    watched, trained = inputs[:1], inputs[1:]
    head, targets, rate = nn.Linear(3, 2).double(), torch.ones(3, 2, dtype=torch.float64), 1e-4
    outputs = head(backbone(trained))
    predicted = predicted_feature_step(
        empirical_kernel(backbone, watched, trained),
        head.weight.detach().expand(3, 2, 3),  # a direction for each sample is the same
        (targets - outputs).detach(),
        rate,
    )
    before = backbone(watched)
    (0.5 * (outputs - targets).square().sum(dim=1)).mean().backward()
    torch.optim.SGD(backbone.parameters(), lr=rate).step()
    torch.testing.assert_close(backbone(watched) - before, predicted, rtol=1e-3, atol=1e-9)


# drift


def test_norms_of_pairs() -> None:
    kernel = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    norms = kernel_norms(kernel)
    assert (norms.shape, norms.dtype) == ((3, 2), torch.float64)
    assert float(norms[1, 0]) == pytest.approx(float(kernel[1, 0].square().sum().sqrt()))
    torch.testing.assert_close(kernel_norms(3 * kernel, kernel), 2 * norms)


def test_drift_is_from_the_last_and_from_the_first() -> None:
    first = torch.eye(4).expand(2, 2, 4, 4)  # each pair has norm 2
    drift = KernelDrift(first)
    there = drift.update(2 * first).to_dict()
    back = drift.update(first).to_dict()
    half = {"step": 2.0, "relative_step": 1.0}
    assert there == pytest.approx({**half, "from_start": 2.0, "relative_from_start": 1.0})
    assert back == pytest.approx({**half, "from_start": 0.0, "relative_from_start": 0.0})


def test_relative_drift_does_not_know_the_size_of_the_kernel() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 3, 2, 2, dtype=torch.float64, generator=generator)
    small = KernelDrift(first).update(second)
    large = KernelDrift(50 * first).update(50 * second)
    assert large.step == pytest.approx(50 * small.step)
    assert large.relative_step == pytest.approx(small.relative_step)
    assert large.relative_from_start == pytest.approx(small.relative_from_start)


def test_a_linear_backbone_has_no_drift_in_training() -> None:
    torch.manual_seed(0)
    backbone = nn.Linear(5, 3).eval()
    inputs = torch.randn(4, 5)
    drift = KernelDrift(empirical_kernel(backbone, inputs))
    backbone(inputs).square().mean().backward()
    torch.optim.SGD(backbone.parameters(), lr=0.5).step()
    assert drift.update(empirical_kernel(backbone, inputs)).from_start == 0.0


def test_a_zero_kernel_has_no_relative_drift() -> None:
    drift = KernelDrift(torch.zeros(1, 1, 2, 2)).update(torch.ones(1, 1, 2, 2))
    assert drift.step == 2.0
    assert math.isnan(drift.relative_step)


# errors


def test_a_backbone_in_training_mode() -> None:
    backbone, inputs = made("conv")
    backbone.stem[1].train()  # one batch norm is enough
    with pytest.raises(ConfigError, match=r"backbone\.eval\(\)"):
        empirical_kernel(backbone, inputs)


def test_unknown_and_missing_weights() -> None:
    backbone, inputs = made("mlp")
    with pytest.raises(UnknownNameError, match=r"'2\.weights'.*Did you mean '2\.weight'"):
        empirical_kernel(backbone, inputs, parameters=["2.weights"])
    with pytest.raises(ConfigError, match="at least one parameter"):
        empirical_kernel(backbone.requires_grad_(False), inputs)


def test_samples_and_features_of_a_wrong_shape() -> None:
    backbone, inputs = made("mlp")
    with pytest.raises(DataError, match="at least one sample a side, got 4, 0"):
        empirical_kernel(backbone, inputs, inputs[:0])
    with pytest.raises(DataError, match=r"features \(N, D\), got \(1, 3, 6, 6\)"):
        empirical_kernel(nn.Conv2d(2, 3, 3).eval(), torch.zeros(1, 2, 8, 8))
    with pytest.raises(ConfigError, match="chunk_size must be >= 1, got 0"):
        empirical_kernel(backbone, inputs, chunk_size=0)


def test_factors_and_kernels_that_do_not_fit() -> None:
    kernel = torch.zeros(4, 4, 3, 3)
    with pytest.raises(DataError, match=r"must be \(4, K\) and the direction \(K, 3\)"):
        predicted_feature_step(kernel, torch.zeros(2, 3), torch.zeros(4, 5), 0.1)
    with pytest.raises(DataError, match=r"\(N, M, D, D\)"):
        KernelDrift(torch.zeros(4, 3, 3))
    with pytest.raises(DataError, match="must have one shape"):
        KernelDrift(kernel).update(kernel[:2])
