from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from energytune.tasks import Multiclass


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 5, generator=generator), torch.arange(12) % 5


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.75])
def test_residual_is_minus_the_gradient_of_the_summed_loss(batch, label_smoothing) -> None:
    logits, targets = batch
    logits = logits.double().requires_grad_()
    task = Multiclass(5)
    loss = task.loss(logits, targets, label_smoothing) * len(targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    # smoothed targets are built in the default dtype, float32: 1e-7 is their rounding
    torch.testing.assert_close(
        task.residual(logits.detach(), targets, label_smoothing), -gradient, atol=2e-7, rtol=0
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_loss_follows_pytorchs_smoothing_convention(batch, label_smoothing) -> None:
    logits, targets = batch
    task = Multiclass(5)
    by_hand = -(task.soft_targets(targets, label_smoothing) * F.log_softmax(logits, -1)).sum(-1)
    torch.testing.assert_close(task.loss(logits, targets, label_smoothing), by_hand.mean())


def test_soft_targets_by_hand() -> None:
    soft = Multiclass(4).soft_targets(torch.tensor([2]), 0.2)
    torch.testing.assert_close(soft, torch.tensor([[0.05, 0.05, 0.85, 0.05]]))


def test_rows_of_probabilities_and_residuals(batch) -> None:
    logits, targets = batch
    task = Multiclass(5)
    torch.testing.assert_close(task.probs(logits).sum(-1), torch.ones(12))
    torch.testing.assert_close(
        task.residual(logits, targets, 0.1).sum(-1), torch.zeros(12), atol=1e-6, rtol=0
    )


def test_residual_keeps_the_dtype_of_the_logits(batch) -> None:
    logits, targets = batch
    assert Multiclass(5).residual(logits.double(), targets).dtype == torch.float64


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_of_one_head_is_pytorchs_bit_for_bit(batch, label_smoothing) -> None:
    logits, targets = batch
    expected = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    assert torch.equal(Multiclass(5).loss(logits, targets, label_smoothing), expected)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_of_many_heads_is_pytorchs(batch, label_smoothing) -> None:
    logits, targets = batch
    heads = torch.stack([logits, logits.flip(1), 2 * logits], dim=2)
    per_sample = F.cross_entropy(
        heads, targets[:, None].expand(-1, 3), label_smoothing=label_smoothing, reduction="none"
    )
    torch.testing.assert_close(
        Multiclass(5).loss(heads, targets, label_smoothing), per_sample.mean(0)
    )


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_by_hand(size) -> None:
    logits = torch.tensor([[size, 0.0, 0.0]]).unsqueeze(2)
    task, target = Multiclass(3), torch.tensor([0])
    # +1e4 at the target: right and certain; -1e4 there: the two others share the probability
    pull = torch.tensor([0.0, 0.0, 0.0] if size > 0 else [-1.0, 0.5, 0.5])
    assert torch.equal(task.loss_gradient(logits, target)[0, :, 0], pull)
    expected = 0.0 if size > 0 else 1e4 + math.log(2)
    assert float(task.loss(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_float32_heads_is_near_float64s() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 5 * torch.randn(128, 10, 17, generator=generator)
    targets = torch.randint(10, (128,), generator=generator)
    eps = torch.linspace(0, 0.9, 17)
    task = Multiclass(10)
    exact = task.loss_gradient(logits.double(), targets, eps)
    got = task.loss_gradient(logits, targets, eps)
    assert got.dtype == torch.float32
    assert float((got - exact).abs().max()) < 5e-9  # 1/128 times a few roundings of float32


def test_uniform_prediction_has_the_loss_log_k() -> None:
    loss = Multiclass(7).loss(torch.zeros(3, 7), torch.tensor([0, 3, 6]))
    assert float(loss) == pytest.approx(math.log(7))


def test_counts_of_correct_predictions() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    targets = torch.tensor([0, 1, 1])
    task = Multiclass(2)
    assert task.correct(logits, targets).tolist() == [True, True, False]
    assert int(task.n_correct(logits, targets)) == 2
    assert task.n_outputs == 2
    assert task.metric == "accuracy"
    assert task.labelled(targets).tolist() == [True] * 3
    assert task.n_labelled(targets) == 3


def test_the_meter_is_the_exact_quotient_of_two_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(49, 3, 2, generator=generator)
    targets = torch.randint(3, (49,), generator=generator)
    meter = Multiclass(3).meter()
    for some, wanted in zip(logits.split(20), targets.split(20), strict=True):
        meter.update(some, wanted)
    expected = [int((logits[..., m].argmax(1) == targets).sum()) / 49 for m in range(2)]
    assert meter.compute().tolist() == expected
