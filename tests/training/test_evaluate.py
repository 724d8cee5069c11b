from __future__ import annotations

import pytest
import torch
from sklearn.metrics import jaccard_score, roc_auc_score

from energytune.tasks import MultiLabel, PerPixel
from energytune.training.evaluate import evaluate


def in_batches(inputs, targets, batch_size: int = 1024):
    return zip(torch.split(inputs, batch_size), torch.split(targets, batch_size), strict=True)


def test_loss_and_accuracy_do_not_depend_on_the_batch_size(task) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 3, generator=generator)
    targets = torch.arange(11) % 3
    whole = float(task.loss(logits, targets))
    for batch_size in (1, 4, 11, 100):
        outcome = evaluate(lambda z: z, in_batches(logits, targets, batch_size), task)
        assert outcome.loss == pytest.approx(whole, rel=1e-6)
        assert outcome.accuracy == int((logits.argmax(1) == targets).sum()) / 11
        assert torch.equal(outcome.correct, logits.argmax(1) == targets)


def test_no_graph_is_built(task) -> None:
    weight = torch.ones(3, 3, requires_grad=True)
    seen: list[bool] = []

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        logits = inputs @ weight
        seen.append(logits.requires_grad)
        return logits

    evaluate(forward, in_batches(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)), task)
    assert seen == [False]


def test_the_score_is_that_of_the_tasks_meter() -> None:
    generator = torch.Generator().manual_seed(0)
    task = MultiLabel(3)
    logits = torch.randn(40, 3, generator=generator)
    targets = torch.randint(-1, 2, (40, 3), generator=generator)
    targets[:7] = -1  # a whole batch without a label
    whole = float(task.loss(logits, targets))
    areas = [
        roc_auc_score(targets[known, label], logits[known, label])
        for label in range(3)
        for known in [targets[:, label] >= 0]
    ]
    outcome = evaluate(lambda z: z, in_batches(logits, targets, 7), task)
    assert outcome.loss == pytest.approx(whole, rel=1e-6)
    assert outcome.accuracy == pytest.approx(sum(areas) / 3, rel=1e-12)
    assert torch.equal(outcome.correct, task.correct(logits, targets))


def test_pixels_are_evaluated_over_those_with_a_label() -> None:
    generator = torch.Generator().manual_seed(0)
    task = PerPixel(2)
    logits = torch.randn(5, 2, 3, 3, generator=generator)
    targets = torch.randint(2, (5, 3, 3), generator=generator)
    targets[0] = 255
    targets[1, 0] = 255
    known = targets != 255
    outcome = evaluate(lambda z: z, in_batches(logits, targets, 1), task)
    assert outcome.loss == pytest.approx(float(task.loss(logits, targets)), rel=1e-6)
    expected = jaccard_score(targets[known], logits.argmax(1)[known], average="macro")
    assert outcome.accuracy == pytest.approx(expected, rel=1e-12)
    assert outcome.correct.shape == (5, 3, 3)


def test_nothing_labelled_is_finite() -> None:
    targets = torch.full((3, 2, 2), 255)
    batches = in_batches(torch.zeros(3, 2, 2, 2), targets)
    outcome = evaluate(lambda z: z, batches, PerPixel(2))
    assert (outcome.loss, outcome.accuracy) == (0.0, 0.0)


def test_a_batch_without_room_is_evaluated_in_pieces_to_the_same_end(task) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(37, 3, generator=generator), torch.arange(37) % 3
    asked: list[int] = []

    def cramped(inputs: torch.Tensor) -> torch.Tensor:
        asked.append(len(inputs))
        if len(inputs) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inputs

    whole = evaluate(lambda z: z, in_batches(logits, targets, 20), task)
    found = evaluate(cramped, in_batches(logits, targets, 20), task)
    assert (found.loss, found.accuracy) == (whole.loss, whole.accuracy)
    assert torch.equal(found.correct, whole.correct)
    assert asked[:3] == [20, 10, 5]
    assert max(asked[3:]) == 5
