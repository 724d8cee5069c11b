"""Linear heads for the dual form, and the plain torch loop that each must equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from energytune.config import ProbeConfig
from energytune.models.head_only import head_model
from energytune.training.dual_group import SampleSpan
from energytune.training.features import TensorFeatures
from energytune.training.head_group import Batch, HeadGroup
from energytune.training.head_run import HeadRun
from energytune.training.order import epoch_order

BATCH = 8
SETTINGS = [  # label smoothing, lr, weight decay, schedule
    (0.0, 0.03, 0.0, "constant"),
    (0.2, 0.03, 1e-2, "constant"),
    (0.1, 0.01, 0.0, "cosine"),
    (0.3, 0.02, 1e-3, "cosine"),
]
PLAIN = [(0.0, 0.03, 0.0, "constant"), (0.2, 0.01, 0.0, "cosine")]  # none has weight decay


def make_runs(
    width: int,
    n_classes: int,
    dtype: torch.dtype,
    *,
    momentum: float = 0.9,
    options: Sequence[tuple[float, float, float, str]] = SETTINGS,
    batch_size: int = BATCH,
) -> list[HeadRun]:
    runs = []
    for seed, (smoothing, lr, decay, schedule) in enumerate(options):
        config = ProbeConfig(
            lr=lr,
            weight_decay=decay,
            momentum=momentum,
            batch_size=batch_size,
            schedule=schedule,
            schedule_epochs=5 if schedule == "cosine" else None,
        )
        model = head_model("linear", width, n_classes, seed=seed).to(dtype)
        runs.append(HeadRun(model, config, smoothing))
    return runs


def samples_of(
    n_samples: int, width: int, n_classes: int, dtype: torch.dtype, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """As a network gives them out: never negative, with a mean of their own."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_samples, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, n_classes, (n_samples,), generator=generator)
    return (0.5 * x + 0.3).relu().to(dtype), targets


def span_of(features: Tensor) -> SampleSpan:
    span = SampleSpan.of(TensorFeatures(features))
    assert span is not None
    return span


def batches_of(n_samples: int, epoch: int, size: int = BATCH) -> tuple[Tensor, ...]:
    return torch.split(epoch_order(n_samples, 0, "probe", epoch, size), size)


def train(group: HeadGroup, features: Tensor, targets: Tensor, epochs: range = range(1, 7)) -> None:
    size = group.runs[0].config.batch_size
    for epoch in epochs:
        batches = batches_of(len(features), epoch, size)
        group.begin_epoch(epoch, len(batches))
        for samples in batches:
            group.step(Batch(features[samples], targets[samples], samples))


def train_with_torch(run: HeadRun, features: Tensor, targets: Tensor, n_epochs: int = 6) -> None:
    """The independent reference: autograd, cross_entropy, torch's optimiser, in float64."""
    config = run.config
    model = run.model.double()
    optimizer = torch.optim.SGD(
        model.head_side_parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    for epoch in range(1, n_epochs + 1):
        batches = batches_of(len(features), epoch, config.batch_size)
        for step, samples in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = config.lr_at(epoch - 1 + step / len(batches))
            optimizer.zero_grad()
            logits = model.from_features(features[samples].double())
            loss = F.cross_entropy(logits, targets[samples], label_smoothing=run.label_smoothing)
            loss.backward()
            optimizer.step()
    for name, parameter in run.named_parameters():
        buffer = optimizer.state[parameter].get("momentum_buffer")
        if buffer is not None:
            run.momentum[name] = buffer


def distances(one: HeadRun, other: HeadRun) -> dict[str, float]:
    """Returns ||a - b|| / ||b|| of weights and momentum by name."""
    found = {}
    for name, value in one.state().items():
        expected = other.state()[name].double()
        scale = float(expected.norm()) or 1.0
        found[name] = float((value.double() - expected).norm()) / scale
    return found
