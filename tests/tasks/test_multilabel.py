from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from energytune.science import average_initial_energy
from energytune.tasks import Multiclass, MultiLabel

NAN = math.nan


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=generator).double()
    targets = torch.randint(2, (12, 4), generator=generator).double()
    targets[torch.rand(12, 4, generator=generator) < 0.3] = NAN
    return logits, targets


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_loss_is_pytorchs_over_the_labels_that_are_there(batch, label_smoothing) -> None:
    logits, targets = batch
    known = ~targets.isnan()
    smoothed = targets[known] * (1 - label_smoothing) + label_smoothing / 2
    expected = F.binary_cross_entropy_with_logits(logits[known], smoothed)
    task = MultiLabel(4)
    torch.testing.assert_close(task.loss(logits, targets, label_smoothing), expected)
    assert task.n_labelled(targets) == int(known.sum()) < 48


def test_a_missing_label_is_nan_or_negative(batch) -> None:
    logits, targets = batch
    task = MultiLabel(4)
    coded = targets.nan_to_num(-1).to(torch.int8)
    for name in ("loss", "residual", "loss_gradient", "correct", "n_correct"):
        measure = getattr(task, name)
        assert torch.equal(measure(logits, coded), measure(logits, targets))
    assert torch.equal(task.soft_targets(coded), task.soft_targets(targets))
    assert torch.equal(task.labelled(coded), task.labelled(targets))
    meters = task.meter(), task.meter()
    for meter, wanted in zip(meters, (coded, targets), strict=True):
        meter.update(logits, wanted)
    assert torch.equal(meters[0].compute(), meters[1].compute())


def test_soft_targets_and_residual_by_hand() -> None:
    targets = torch.tensor([[1.0, 0.0, NAN]])
    task = MultiLabel(3)
    torch.testing.assert_close(task.soft_targets(targets, 0.2), torch.tensor([[0.9, 0.1, 0.0]]))
    residual = task.residual(torch.zeros(1, 3), targets, 0.2)
    torch.testing.assert_close(residual, torch.tensor([[0.4, -0.4, 0.0]]))


def test_a_sample_is_correct_where_all_its_labels_are() -> None:
    logits = torch.tensor([[2.0, -1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    targets = torch.tensor([[1, 0], [1, 0], [1, -1], [-1, -1], [0, 0], [1, 0]])
    task = MultiLabel(2)
    # a tie, probability 0.5, is a no; a sample without labels is never correct
    expected = [True, False, True, False, True, False]
    assert task.correct(logits, targets).tolist() == expected
    assert int(task.n_correct(logits, targets)) == 3
    assert task.labelled(targets).tolist() == [True, True, True, False, True, True]
    assert task.metric == "roc_auc"


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_by_hand(size) -> None:
    logits, targets = torch.tensor([[size, size]]), torch.tensor([[1.0, NAN]])
    task = MultiLabel(2)
    assert float(task.loss(logits, targets)) == (0.0 if size > 0 else 1e4)
    assert task.residual(logits, targets).tolist() == [[0.0 if size > 0 else 1.0, 0.0]]


def test_half_precision_can_hold_the_mean_over_many_labels() -> None:
    logits = torch.zeros(300, 300, dtype=torch.float16)  # 1 / 90,000 has few bits in float16
    targets = torch.ones(300, 300)
    assert float(MultiLabel(300).loss(logits, targets)) == pytest.approx(math.log(2), rel=1e-3)


def test_two_classes_have_root_two_of_the_sigmoids_energy() -> None:
    # softmax over (0, q) is the sigmoid of q, and its residual is (-e, e)
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(50, 1, generator=generator).double()
    targets = torch.randint(2, (50, 1), generator=generator)
    one = average_initial_energy(MultiLabel(1).residual(logits, targets))
    pairs = torch.cat([torch.zeros_like(logits), logits], dim=1)
    two = average_initial_energy(Multiclass(2).residual(pairs, targets[:, 0]))
    assert two == pytest.approx(math.sqrt(2) * one, rel=1e-12)
