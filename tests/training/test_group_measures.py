"""What is measured of a group of heads, and targets other than one class a sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from energytune.config import ProbeConfig
from energytune.tasks import Multiclass, MultiLabel, PerPixel
from energytune.training.head_groups import make_groups
from tests.training.side_by_side import (
    K,
    N,
    data,
    gated_runs,
    make_runs,
    train,
)

# what is measured


@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_pull_is_the_gradient_of_the_loss_by_the_features(head_arch: str, n_heads: int) -> None:
    features, targets = data(torch.float64)
    task = Multiclass(K)
    runs = make_runs(head_arch, torch.float64, n_heads)
    (placed,) = make_groups(runs, range(n_heads), task, seed=0, per_position=False)
    residual = task.residual(placed.group.logits(features), targets)
    pulls = placed.group.pull_norms(residual)
    for m, run in enumerate(runs):
        z = features.clone().requires_grad_(True)
        loss = F.cross_entropy(run.model.from_features(z), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
        torch.testing.assert_close(pulls[:, m], gradient.norm(dim=1), rtol=1e-9, atol=1e-12)
        if head_arch == "linear":
            direct = residual[:, :, m] @ run.model.head.weight.detach()
            torch.testing.assert_close(pulls[:, m], direct.norm(dim=1), rtol=1e-9, atol=1e-12)


def test_pull_through_real_layers_is_the_gradient_too() -> None:
    features, targets = data(torch.float32)
    task = Multiclass(K)
    runs = gated_runs(2)
    (placed,) = make_groups(runs, range(2), task, seed=0, per_position=False)
    pulls = placed.group.pull_norms(task.residual(placed.group.logits(features), targets))
    for m, run in enumerate(runs):
        z = features.clone().requires_grad_(True)
        loss = F.cross_entropy(run.model.from_features(z), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
        expected = gradient.double().norm(dim=1)
        torch.testing.assert_close(pulls[:, m], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_norms_and_logits_are_those_of_the_runs(head_arch: str, n_heads: int) -> None:
    features, _ = data(torch.float32)
    runs = make_runs(head_arch, torch.float32, n_heads)
    (placed,) = make_groups(runs, range(n_heads), Multiclass(K), seed=0, per_position=False)
    logits, norms = placed.group.logits(features), placed.group.head_norms()
    assert logits.shape == (N, K, n_heads)
    for m, run in enumerate(runs):
        expected = run.model.from_features(features).detach()
        torch.testing.assert_close(logits[:, :, m], expected, rtol=1e-5, atol=1e-6)
        assert float(norms[m]) == pytest.approx(run.model.head_norm(), rel=1e-6)


# other targets


@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_multi_label_targets_with_gaps(head_arch: str, n_heads: int) -> None:
    features, _ = data(torch.float64)
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(0, 2, (N, K), generator=generator).double()
    missing = torch.rand(N, K, generator=generator) < 0.3
    targets[missing] = float("nan")
    runs, reference = (make_runs(head_arch, torch.float64, n_heads) for _ in range(2))
    for run in (*runs, *reference):
        run.config = ProbeConfig(lr=0.05, batch_size=N)
    train(runs, features, targets, MultiLabel(K), n_epochs=4)
    for one, plain in zip(runs, reference, strict=True):
        optimizer = torch.optim.SGD(plain.model.head_side_parameters(), lr=0.05, momentum=0.9)
        known = ~missing
        smooth = targets * (1 - one.label_smoothing) + one.label_smoothing / 2
        for _ in range(4):
            optimizer.zero_grad()
            logits = plain.model.from_features(features)
            F.binary_cross_entropy_with_logits(logits[known], smooth[known]).backward()
            optimizer.step()
        for name, value in plain.model.head_side_state().items():
            torch.testing.assert_close(
                one.model.head_side_state()[name], value, rtol=1e-9, atol=1e-11
            )


@pytest.mark.parametrize("n_heads", [1, 2])
def test_pixels_are_samples_and_the_ignored_are_not(n_heads: int) -> None:
    features, targets = data(torch.float64)
    ignored = torch.arange(N) % 3 == 0
    masked = torch.where(ignored, 255, targets)
    runs, reference = (make_runs("linear", torch.float64, n_heads) for _ in range(2))
    for run in (*runs, *reference):
        run.config = ProbeConfig(lr=0.05, batch_size=N)
    train(runs, features, masked, PerPixel(K), n_epochs=1)
    for one, plain in zip(runs, reference, strict=True):
        logits = plain.model.from_features(features)
        loss = F.cross_entropy(
            logits, masked, ignore_index=255, label_smoothing=one.label_smoothing
        )
        loss.backward()
        for before, after in zip(
            plain.model.head.parameters(), one.model.head.parameters(), strict=True
        ):
            torch.testing.assert_close(after, before - 0.05 * before.grad, rtol=1e-9, atol=1e-11)
