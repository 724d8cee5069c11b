from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from energytune.config import ProbeConfig
from energytune.models import TaskModel
from energytune.models.cut import NoTail, SequentialCut
from energytune.tasks import Multiclass
from energytune.training.head_epoch import head_epoch

TASK = Multiclass(4)
FEATURES = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(20) % 4


def _model(head: nn.Module) -> TaskModel:
    nothing = nn.Identity()
    return TaskModel(nothing, head, cut=NoTail(nothing), spec={})


@pytest.mark.parametrize("label_smoothing", [0.0, 0.25])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("arch", ["linear", "mlp"])
def test_equals_autograd_and_torchs_optimiser(label_smoothing, weight_decay, arch) -> None:
    torch.manual_seed(0)
    head = nn.Linear(6, 4)
    if arch == "mlp":
        head = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    reference = copy.deepcopy(head)
    config = ProbeConfig(lr=0.1, momentum=0.9, weight_decay=weight_decay, batch_size=8)
    step, _ = head_epoch(_model(head), FEATURES, TARGETS, TASK, config, label_smoothing)
    optimizer = torch.optim.SGD(
        reference.parameters(), lr=0.1, momentum=0.9, weight_decay=weight_decay
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    for epoch in range(5):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(8):  # the last one is smaller: the mean is over its own size
            step(batch)
            optimizer.zero_grad()
            loss_of(reference(FEATURES[batch]), TARGETS[batch]).backward()
            optimizer.step()
    for own, other in zip(head.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_a_tail_without_parameters_is_not_forgotten() -> None:
    class Net(nn.Module):
        sequential_blocks = True

        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.ReLU()])

    torch.manual_seed(0)
    network = Net()
    head = nn.Linear(6, 4)
    cut = SequentialCut(network, 1)
    model = TaskModel(network, head, cut=cut, spec={"reinit_depth": 1})
    reference = copy.deepcopy(head)
    config = ProbeConfig(lr=0.1, momentum=0.0, batch_size=20)
    step, _ = head_epoch(model, FEATURES, TARGETS, TASK, config, 0.0)
    step(torch.arange(20))
    loss = nn.functional.cross_entropy(reference(FEATURES.relu()), TARGETS)
    (gradient,) = torch.autograd.grad(loss, reference.weight)
    torch.testing.assert_close(head.weight, reference.weight - 0.1 * gradient)
