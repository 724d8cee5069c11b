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
