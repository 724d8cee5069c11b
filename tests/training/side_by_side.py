"""Heads to train side by side, and the plain torch loop that each must equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from energytune.config import ProbeConfig
from energytune.models import TaskModel
from energytune.models.cut import SequentialCut
from energytune.models.head_only import head_model
from energytune.tasks import Task
from energytune.training.head_group import Batch
from energytune.training.head_groups import make_groups
from energytune.training.head_run import HeadRun
from energytune.training.order import epoch_order

N, D, K, BATCH = 50, 12, 5, 16
SETTINGS = [  # label smoothing, lr, weight decay, schedule
    (0.0, 0.03, 0.0, "constant"),
    (0.2, 0.03, 1e-2, "constant"),
    (0.1, 0.01, 0.0, "cosine"),
    (0.3, 0.02, 1e-3, "cosine"),
]


def config_of(lr: float, decay: float, schedule: str) -> ProbeConfig:
    return ProbeConfig(
        lr=lr,
        weight_decay=decay,
        momentum=0.9,
        batch_size=BATCH,
        schedule=schedule,
        schedule_epochs=5 if schedule == "cosine" else None,
    )


def make_runs(head_arch: str, dtype: torch.dtype, n_heads: int = 4) -> list[HeadRun]:
    runs = []
    for seed in range(n_heads):
        smoothing, *optimiser = SETTINGS[seed % len(SETTINGS)]
        model = head_model(head_arch, D, K, seed=seed).to(dtype)
        runs.append(HeadRun(model, config_of(*optimiser), smoothing))
    return runs


def data(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, D, generator=generator, dtype=dtype), torch.arange(N) % K


def train(
    runs: Sequence[HeadRun], features: Tensor, targets: Tensor, task: Task, n_epochs: int = 6
) -> None:
    placed = make_groups(runs, range(len(runs)), task, seed=0, per_position=False, targets=targets)
    size = runs[0].config.batch_size
    for epoch in range(1, n_epochs + 1):
        batches = torch.split(epoch_order(len(features), 0, "probe", epoch, size), size)
        for one in placed:
            one.group.begin_epoch(epoch, len(batches))
            for samples in batches:
                one.group.step(Batch(features[samples], targets[samples], samples))
    for one in placed:
        one.group.sync()


def train_with_torch(run: HeadRun, features: Tensor, targets: Tensor, n_epochs: int = 6) -> None:
    """The independent reference: autograd, cross_entropy, torch's optimiser and scheduler."""
    config = run.config
    optimizer = torch.optim.SGD(
        run.model.head_side_parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    n_steps = -(-N // BATCH)
    scheduler = None
    if config.schedule_epochs is not None:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, config.schedule_epochs * n_steps
        )
    step = 0
    for epoch in range(1, n_epochs + 1):
        for batch in torch.split(epoch_order(N, 0, "probe", epoch, BATCH), BATCH):
            optimizer.zero_grad()
            logits = run.model.from_features(features[batch])
            F.cross_entropy(logits, targets[batch], label_smoothing=run.label_smoothing).backward()
            optimizer.step()
            step += 1
            if scheduler is not None and step <= config.schedule_epochs * n_steps:
                scheduler.step()


def assert_close(one: HeadRun, other: HeadRun, tolerance: float) -> None:
    for name, value in one.state().items():
        expected = other.state()[name].double()
        scale = float(expected.norm()) or 1.0
        assert float((value.double() - expected).norm()) <= tolerance * scale, name


class Gate(nn.Module):
    """No dense layer, with dropout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(D, D)
        self.norm = nn.BatchNorm1d(D)
        self.drop = nn.Dropout(0.5)

    def reset_parameters(self) -> None:
        self.scale.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.scale(x)).sigmoid() * x)


class GateNet(nn.Module):
    sequential_blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(D, D), Gate()])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def gated_runs(n_heads: int) -> list[HeadRun]:
    runs = []
    for seed in range(n_heads):
        torch.manual_seed(seed)
        network = GateNet()
        model = TaskModel(network, nn.Linear(D, K), cut=SequentialCut(network, 1), spec={})
        runs.append(HeadRun(model, config_of(*SETTINGS[seed][1:]), SETTINGS[seed][0]))
    return runs
