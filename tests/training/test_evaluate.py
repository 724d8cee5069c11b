from __future__ import annotations

import pytest
import torch

from energytune.training.evaluate import evaluate, in_batches


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
