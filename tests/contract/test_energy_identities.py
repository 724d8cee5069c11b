"""Loss, energy and pull of real heads on real features, against autograd."""

from __future__ import annotations

import math

import pytest
import torch

from energytune.config import Recipe
from energytune.science.energy import (
    class_balanced_energy,
    energy_per_label,
    label_balanced_energy,
    residual_norms,
)
from energytune.tasks import MultiLabel, PerPixel
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe

N = 24


def head_and_batch(bench, head_arch, depth=0):
    model = bench.model(Recipe(tau=0, head_arch=head_arch, reinit_depth=depth, ft_lr=1.0), seed=3)
    model.set_probe_mode(False)
    data = bench.probe_data(depth)
    return model, data.train.take(torch.arange(N)), data.train_targets[:N]


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_by_the_logits_is_minus_the_residual_over_the_labelled_entries(
    bench, head_arch, depth, smoothing
):
    task = bench.splits.task
    model, z, targets = head_and_batch(bench, head_arch, depth)
    logits = model.from_features(z)
    (gradient,) = torch.autograd.grad(task.loss(logits, targets, smoothing), logits)
    expected = -task.residual(logits, targets, smoothing) / task.n_labelled(targets)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


def test_gradient_by_the_features_of_a_linear_head_is_minus_its_weights_times_the_energy(bench):
    """W^T (p - y) / n for vectors; for maps the upsampling's transpose stands between."""
    task = bench.splits.task
    model, z, targets = head_and_batch(bench, "linear")
    z = z.double().requires_grad_(True)
    model = model.double()
    logits = model.from_features(z)
    (gradient,) = torch.autograd.grad(task.loss(logits, targets), z)
    pull = -task.residual(logits, targets).detach() / task.n_labelled(targets)
    weight = next(p for p in model.head.parameters() if p.ndim >= 2).detach()
    if z.ndim == 2:
        expected = pull @ weight
    else:
        small = torch.zeros((len(z), weight.shape[0], *z.shape[2:]), dtype=z.dtype)
        small.requires_grad_(True)
        up = torch.nn.functional.interpolate(
            small, size=pull.shape[2:], mode="bilinear", align_corners=False
        )
        (back,) = torch.autograd.grad(up, small, pull)
        expected = torch.einsum("nkhw,kd->ndhw", back, weight.flatten(1))
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_snapshot_holds_the_energies_of_the_head_it_was_taken_of(bench, head_arch, depth):
    task = bench.splits.task
    recipe = Recipe(tau=2, head_arch=head_arch, reinit_depth=depth, ft_lr=1.0)
    data = bench.probe_data(depth)
    run = HeadRun(bench.model(recipe, seed=1), bench.spec.probe, 0.0, "")
    *_, last = probe(run, data, task, seed=1, tau=2)
    run.model.set_probe_mode(False)
    z = data.train.take(torch.arange(data.n_train)).requires_grad_(True)
    targets = data.train_targets
    logits = run.model.from_features(z)
    residual = task.residual(logits, targets).detach()
    (pull,) = torch.autograd.grad(logits, z, -residual)
    some = task.labelled(targets).flatten(1).any(dim=1) if z.ndim == 4 else task.labelled(targets)
    norms = residual_norms(residual)
    assert last.aie == pytest.approx(float(norms[task.labelled(targets)].mean()), rel=1e-4)
    pulls = torch.linalg.vector_norm(pull.flatten(1).double(), dim=1)[some]
    assert last.pull_norm == pytest.approx(float(pulls.mean()), rel=1e-3)
    meter = task.meter()
    meter.update(logits.detach(), targets)
    assert last.train_acc == pytest.approx(float(meter.compute()), abs=0.01)
    if isinstance(task, MultiLabel):
        assert last.aie_per_label == pytest.approx(
            float(energy_per_label(residual, targets >= 0)), rel=1e-4
        )
        assert last.aie_balanced == pytest.approx(
            float(label_balanced_energy(residual, targets)), rel=1e-4
        )
    elif isinstance(task, PerPixel):
        classes = targets.long()
        assert last.aie_balanced == pytest.approx(
            float(class_balanced_energy(norms, classes, task.labelled(targets))), rel=1e-4
        )
        foreground = (classes > 0) & task.labelled(targets)
        right = task.correct(logits, targets)[foreground]
        assert last.foreground_acc == pytest.approx(float(right.double().mean()), abs=0.01)
    else:
        assert (last.aie_balanced, last.aie_per_label, last.foreground_acc) == (None, None, None)


def test_energy_is_bounded_by_the_number_of_answers(bench, head_arch):
    task = bench.splits.task
    model, z, targets = head_and_batch(bench, head_arch)
    energies = residual_norms(task.residual(model.from_features(z).detach(), targets))
    bound = math.sqrt(task.n_outputs) if isinstance(task, MultiLabel) else math.sqrt(2.0)
    assert float(energies.max()) <= bound
