"""Heads side by side: each equals its separate run, and plain torch, whatever stands beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from energytune.config import ProbeConfig
from energytune.errors import ConfigError
from energytune.models import TaskModel, build_model, create_backbone
from energytune.models.cut import NoTail, SequentialCut
from energytune.models.head_only import head_model
from energytune.tasks import Multiclass, MultiLabel, PerPixel, Task
from energytune.training.chain_group import ChainGroup
from energytune.training.dense_group import DenseGroup
from energytune.training.head_group import Batch
from energytune.training.head_groups import check_together, make_groups, split_by_memory
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.module_group import ModuleGroup
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


@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_a_head_in_the_batch_equals_its_separate_run(head_arch, dtype, tolerance) -> None:
    features, targets = data(dtype)
    together, alone = make_runs(head_arch, dtype), make_runs(head_arch, dtype)
    train(together, features, targets, Multiclass(K))
    for one, separate in zip(together, alone, strict=True):
        train([separate], features, targets, Multiclass(K))
        assert_close(one, separate, tolerance)


@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_a_head_in_the_batch_equals_autograd_and_torchs_sgd(head_arch, dtype, tolerance) -> None:
    features, targets = data(dtype)
    together, reference = make_runs(head_arch, dtype), make_runs(head_arch, dtype)
    train(together, features, targets, Multiclass(K))
    for one, plain in zip(together, reference, strict=True):
        train_with_torch(plain, features, targets)
        weights = {k: v for k, v in one.state().items() if not k.startswith("momentum:")}
        for name, value in weights.items():
            expected = plain.state()[name]
            assert float((value - expected).norm()) <= tolerance * float(expected.norm()), name


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_dense_tails_equal_autograd_and_torchs_sgd(head_arch: str, depth: int) -> None:
    backbone = create_backbone("digits-mlp", weights="none", seed=3)

    def tails() -> list[HeadRun]:
        return [
            HeadRun(
                build_model(
                    backbone, head_arch=head_arch, n_outputs=K, reinit_depth=depth, seed=seed
                ).double(),
                config_of(*SETTINGS[seed][1:]),
                SETTINGS[seed][0],
            )
            for seed in range(3)
        ]

    generator = torch.Generator().manual_seed(1)
    features = torch.randn(N, 128, generator=generator, dtype=torch.float64)
    targets = torch.arange(N) % K
    together, reference = tails(), tails()
    train(together, features, targets, Multiclass(K), n_epochs=3)
    for one, plain in zip(together, reference, strict=True):
        train_with_torch(plain, features, targets, n_epochs=3)
        for name, value in plain.model.head_side_state().items():
            torch.testing.assert_close(
                one.model.head_side_state()[name], value, rtol=1e-9, atol=1e-11
            )


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


def test_tails_of_real_layers_draw_as_if_alone() -> None:
    features, targets = data(torch.float32)
    together, alone = gated_runs(3), gated_runs(3)
    train(together, features, targets, Multiclass(K))
    for one, separate in zip(together, alone, strict=True):
        train([separate], features, targets, Multiclass(K))
        assert_close(one, separate, 0.0)
    drawn = copy.deepcopy(gated_runs(1)[0])
    drawn.model.set_probe_mode(True)
    one, other = drawn.model.from_features(features), drawn.model.from_features(features)
    assert not torch.equal(one, other)  # there is dropout to get wrong


# what is made of which head side


def test_each_kind_of_head_side_gets_its_group() -> None:
    runs = [*make_runs("linear", torch.float32, 2), *make_runs("mlp", torch.float32, 3)]
    runs.insert(1, gated_runs(1)[0])
    placed = make_groups(runs, range(6), Multiclass(K), seed=0, per_position=False)
    kinds = {type(one.group): one.members for one in placed}
    assert kinds == {LinearGroup: (0, 2), ModuleGroup: (1,), DenseGroup: (3, 4, 5)}
    (alone,) = make_groups(runs, [4], Multiclass(K), seed=0, per_position=False)
    assert (type(alone.group), alone.members) == (ChainGroup, (4,))


def test_a_linear_layer_that_ends_in_a_relu_is_no_linear_head() -> None:
    nothing = nn.Identity()
    head = nn.Sequential(nn.Linear(D, K), nn.ReLU())
    run = HeadRun(TaskModel(nothing, head, cut=NoTail(nothing), spec={}), ProbeConfig())
    features, targets = data(torch.float32)
    for runs in ([run], [run, copy.deepcopy(run)]):
        (placed,) = make_groups(runs, range(len(runs)), Multiclass(K), seed=0, per_position=False)
        logits = placed.group.logits(features)
        torch.testing.assert_close(logits[:, :, 0], head(features).detach())
        pulls = placed.group.pull_norms(Multiclass(K).residual(logits, targets))
        z = features.clone().requires_grad_(True)
        loss = F.cross_entropy(head(z), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
        expected = gradient.double().norm(dim=1)
        torch.testing.assert_close(pulls[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_heads_that_cannot_share_batches_are_refused() -> None:
    runs = make_runs("linear", torch.float32, 2)
    runs[1].config = ProbeConfig(batch_size=BATCH + 1)
    with pytest.raises(ConfigError, match=r"one batch_size, got \[16, 17\]"):
        check_together(runs)
    runs[1].config = ProbeConfig(batch_size=BATCH, momentum=0.5)
    with pytest.raises(ConfigError, match=r"one momentum, got \[0.5, 0.9\]"):
        check_together(runs)
    with pytest.raises(ConfigError, match="at least one head"):
        check_together([])


def test_more_heads_than_memory_holds_are_split() -> None:
    runs = make_runs("linear", torch.float32, 5)
    one = 4 * 4 * (D * K + K)
    assert split_by_memory(runs, None) == [[0, 1, 2, 3, 4]]
    assert split_by_memory(runs, 5 * one) == [[0, 1, 2, 3, 4]]
    assert split_by_memory(runs, 2 * one) == [[0, 1], [2, 3], [4]]
    assert split_by_memory(runs, one // 2) == [[0], [1], [2], [3], [4]]


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


@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_multi_label_targets_with_gaps(head_arch: str) -> None:
    features, _ = data(torch.float64)
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(0, 2, (N, K), generator=generator).double()
    missing = torch.rand(N, K, generator=generator) < 0.3
    targets[missing] = float("nan")
    runs, reference = make_runs(head_arch, torch.float64), make_runs(head_arch, torch.float64)
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


def test_pixels_are_samples_and_the_ignored_are_not() -> None:
    features, targets = data(torch.float64)
    ignored = torch.arange(N) % 3 == 0
    masked = torch.where(ignored, 255, targets)
    runs, reference = make_runs("linear", torch.float64, 2), make_runs("linear", torch.float64, 2)
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


# properties


@settings(max_examples=25, deadline=None)
@given(
    n_heads=st.integers(1, 6),
    n_classes=st.integers(2, 7),
    width=st.integers(1, 9),
    n_samples=st.integers(1, 20),
    seed=st.integers(0, 1000),
    lr=st.floats(1e-4, 0.03),
)
def test_neighbours_have_no_influence(n_heads, n_classes, width, n_samples, seed, lr) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n_samples, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, n_classes, (n_samples,), generator=generator)
    config = ProbeConfig(lr=lr, batch_size=BATCH)

    def runs() -> list[HeadRun]:
        return [
            HeadRun(head_model("linear", width, n_classes, seed=m).double(), config, 0.1 * (m % 3))
            for m in range(n_heads)
        ]

    together, alone = runs(), runs()
    train(together, features, targets, Multiclass(n_classes), n_epochs=2)
    train(alone[:1], features, targets, Multiclass(n_classes), n_epochs=2)
    assert_close(together[0], alone[0], 1e-12)


def test_huge_features_of_one_head_do_not_spoil_another() -> None:
    features, targets = data(torch.float32)
    together, alone = make_runs("linear", torch.float32, 2), make_runs("linear", torch.float32, 2)
    together[1].config = config_of(3e38, 0.0, "constant")
    train(together, features, targets, Multiclass(K))
    train(alone[:1], features, targets, Multiclass(K))
    assert not torch.isfinite(together[1].model.head.weight).all()
    assert_close(together[0], alone[0], 1e-5)
