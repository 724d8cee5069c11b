"""What holds for every task: heads side by side, gradients, missing labels, huge logits."""

from __future__ import annotations

import pytest
import torch

from energytune.tasks import Task
from tests.tasks.targets import CASES, Case

SMOOTHINGS = (0.0, 0.1, 0.75)
UNLABELLED = {
    "multiclass": torch.zeros(0, dtype=torch.int64),
    "multi-label": torch.full((4, 5), torch.nan),
    "images": torch.full((2, 4, 4), 255),
    "rows of pixels": torch.full((6,), 255),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request) -> Case:
    return request.param


def each_head(case: Case) -> list[torch.Tensor]:
    return [case.logits[..., m].contiguous() for m in range(case.n_heads)]


def a_smoothing_each(case: Case) -> torch.Tensor:
    return torch.tensor(SMOOTHINGS[: case.n_heads])


def close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def autograd(task: Task, logits: torch.Tensor, targets: torch.Tensor, smoothing) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    # a head's loss sees only its own logits: the sum has the gradients of all
    (gradient,) = torch.autograd.grad(task.loss(logits, targets, smoothing).sum(), logits)
    return gradient


def test_heads_at_once_equal_heads_one_by_one(case) -> None:
    task, targets = case.task, case.targets
    alone = each_head(case)
    for name in ("correct", "n_correct"):
        measure = getattr(task, name)
        together = measure(case.logits, targets)
        assert torch.equal(together, torch.stack([measure(q, targets) for q in alone], -1))
    close(task.probs(case.logits), torch.stack([task.probs(q) for q in alone], -1))
    for smoothing in SMOOTHINGS:
        for name in ("loss", "residual", "loss_gradient"):
            measure = getattr(task, name)
            together = measure(case.logits, targets, smoothing)
            expected = torch.stack([measure(q, targets, smoothing) for q in alone], -1)
            close(together, expected)


def test_a_smoothing_for_each_head(case) -> None:
    task, targets, eps = case.task, case.targets, a_smoothing_each(case)
    for name in ("loss", "residual", "loss_gradient"):
        measure = getattr(task, name)
        expected = [
            measure(q, targets, float(e)) for q, e in zip(each_head(case), eps, strict=True)
        ]
        close(measure(case.logits, targets, eps), torch.stack(expected, -1), atol=1e-7)
    soft = task.soft_targets(targets, eps, torch.float64)
    assert soft.shape == case.logits.shape
    for m, e in enumerate(eps):
        close(soft[..., m], task.soft_targets(targets, float(e), torch.float64), atol=1e-7)


@pytest.mark.parametrize("smoothing", [*SMOOTHINGS, "each"])
def test_the_loss_gradient_is_autograds(case, smoothing) -> None:
    eps = a_smoothing_each(case) if smoothing == "each" else smoothing
    expected = autograd(case.task, case.logits, case.targets, eps)
    close(case.task.loss_gradient(case.logits, case.targets, eps), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_gradient_is_written_where_it_is_wanted(case, smoothing) -> None:
    task, targets = case.task, case.targets
    before = case.logits.clone()
    expected = task.loss_gradient(case.logits, targets, smoothing)
    out = torch.full_like(before, torch.nan)
    assert task.loss_gradient(case.logits, targets, smoothing, out=out) is out
    assert torch.equal(out, expected)
    assert torch.equal(case.logits, before)
    # in place, also where the heads come first in memory
    for own in (before.clone(), before.movedim(-1, 0).contiguous().movedim(0, -1)):
        assert task.loss_gradient(own, targets, smoothing, out=own) is own
        close(own, expected)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_residual_is_minus_the_gradient_of_the_summed_loss(case, smoothing) -> None:
    n_entries = case.task.n_labelled(case.targets)
    expected = -n_entries * autograd(case.task, case.logits, case.targets, smoothing)
    close(case.task.residual(case.logits, case.targets, smoothing), expected, atol=1e-11)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_residual_is_the_soft_target_minus_the_prediction(case, smoothing) -> None:
    soft = case.task.soft_targets(case.targets, smoothing, torch.float64)
    gap = soft - case.task.probs(case.logits[..., 0])
    residual = case.task.residual(case.logits[..., 0], case.targets, smoothing)
    labelled = residual != 0
    assert 0 < int(labelled.sum()) <= labelled.numel()
    close(residual[labelled], gap[labelled])
    assert bool((soft[~labelled] == 0).all())


def test_the_order_of_the_samples_does_not_matter(case) -> None:
    task, turned = case.task, torch.arange(len(case.targets)).roll(1)
    for name in ("loss", "n_correct"):
        before = getattr(task, name)(case.logits, case.targets)
        close(getattr(task, name)(case.logits[turned], case.targets[turned]), before)
    close(
        task.residual(case.logits[turned], case.targets[turned]),
        task.residual(case.logits, case.targets)[turned],
    )


def test_counts_agree_with_masks(case) -> None:
    task, targets = case.task, case.targets
    right = task.correct(case.logits, targets)
    labelled = task.labelled(targets)
    assert torch.equal(task.n_correct(case.logits, targets), right.flatten(0, -2).sum(0))
    assert not bool(right[~labelled].any())
    assert int(labelled.sum()) <= task.n_labelled(targets)
    assert task.n_outputs == case.logits.shape[1]


@pytest.mark.parametrize("name", UNLABELLED)
def test_no_label_at_all_is_no_loss_and_no_gradient(name) -> None:
    task, targets = CASES[name].task, UNLABELLED[name]
    n_heads = CASES[name].n_heads
    shape = (len(targets), task.n_outputs, *targets.shape[1:])
    if name == "multi-label":
        shape = tuple(targets.shape)
    for heads in ((), (n_heads,)):
        logits = torch.randn(*shape, *heads)
        assert torch.equal(task.loss(logits, targets, 0.1), torch.zeros(heads))
        assert torch.equal(autograd(task, logits, targets, 0.1), torch.zeros_like(logits))
        assert torch.equal(task.loss_gradient(logits, targets, 0.1), torch.zeros_like(logits))
        assert torch.equal(task.residual(logits, targets, 0.1), torch.zeros_like(logits))
        assert not bool(task.correct(logits, targets).any())
        meter = task.meter()
        meter.update(logits, targets)
        assert torch.equal(meter.compute(), torch.full(heads, worthless(task)).double())
    assert task.n_labelled(targets) == 0
    assert not bool(task.labelled(targets).any())


def worthless(task: Task) -> float:
    """Returns the score of a meter that has seen no label."""
    return 0.5 if task.metric == "roc_auc" else 0.0


def test_a_meter_without_a_batch(case) -> None:
    score = case.task.meter().compute()
    assert score.dtype == torch.float64
    assert float(score) == worthless(case.task)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_are_finite(case, size, smoothing) -> None:
    logits = (size * case.logits.sign()).float()
    for name in ("loss", "residual", "loss_gradient"):
        assert bool(getattr(case.task, name)(logits, case.targets, smoothing).isfinite().all())
    assert bool((case.task.residual(logits, case.targets).abs() <= 1.0).all())


def test_a_meter_does_not_depend_on_the_batches(case) -> None:
    whole, parts = case.task.meter(), case.task.meter()
    whole.update(case.logits, case.targets)
    buffer = torch.empty_like(case.logits[:1])
    for row, target in zip(case.logits.split(1), case.targets.split(1), strict=True):
        parts.update(buffer.copy_(row), target)  # the caller's memory is used again
    score = whole.compute()
    assert torch.equal(parts.compute(), score)
    assert score.shape == (case.n_heads,)
    assert score.dtype == torch.float64
    for m, logits in enumerate(each_head(case)):
        alone = case.task.meter()
        alone.update(logits, case.targets)
        assert torch.equal(alone.compute(), score[m])
        assert 0.0 <= float(score[m]) <= 1.0
