"""Finetuning on targets other than one class a sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from energytune.config import FinetuneConfig
from energytune.data import TensorSplit
from energytune.tasks import Multiclass, MultiLabel
from energytune.training.evaluate import evaluate
from energytune.training.finetune import Finetuner

CPU = torch.device("cpu")


class LabelSplit:
    """A split with one yes-or-no label a class, some missing; the first sample has none."""

    def __init__(self, split: TensorSplit, missing: float) -> None:
        self.images = split.images
        self.targets = torch.nn.functional.one_hot(split.targets, 3).float()
        generator = torch.Generator().manual_seed(0)
        self.targets[torch.rand(len(split), 3, generator=generator) < missing] = torch.nan
        self.targets[0] = torch.nan

    def __len__(self) -> int:
        return len(self.targets)

    def batches(
        self,
        batch_size: int,
        *,
        order: torch.Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.arange(len(self)) if order is None else order
        for indices in order.split(batch_size):
            yield self.images[indices], self.targets[indices]


def test_several_labels_some_of_them_missing(train, valid, make_model) -> None:
    task, config = MultiLabel(3), FinetuneConfig(epochs=4, batch_size=8, patience=None)
    parts = LabelSplit(train, 0.2), LabelSplit(valid, 0.2)
    run = Finetuner(make_model(), *parts, task, config, ft_lr=0.05, seed=0, device=CPU)
    records = list(run)
    assert records[-1].train_loss < records[0].train_loss
    assert 0.9 < records[-1].train_acc <= 1.0  # ROC-AUC on three tight clusters
    run.model.eval()
    outcome = evaluate(run.model, parts[1].batches(64), task, CPU)
    assert outcome.loss == records[-1].valid_loss
    assert outcome.accuracy == records[-1].valid_acc


def test_the_training_loss_is_a_mean_over_labels(train, valid, make_model) -> None:
    """A learning rate of nearly 0 leaves the model as it is: one pass over fixed logits."""
    task, config = MultiLabel(3), FinetuneConfig(epochs=1, batch_size=8, augment=False)
    parts = LabelSplit(train, 0.5), LabelSplit(valid, 0.5)
    model = make_model()
    with torch.no_grad():
        expected = float(task.loss(model(parts[0].images), parts[0].targets))
    run = Finetuner(model, *parts, task, config, ft_lr=1e-12, seed=0, device=CPU)
    (record,) = run
    assert abs(record.train_loss - expected) < 1e-5


def test_one_class_a_sample_counts_exactly(train, valid, make_model) -> None:
    config = FinetuneConfig(epochs=1, batch_size=8)
    run = Finetuner(
        make_model(), train, valid, Multiclass(3), config, ft_lr=0.05, seed=0, device=CPU
    )
    (record,) = run
    n_correct = record.train_acc * len(train)
    assert record.train_acc == round(n_correct) / len(train)
