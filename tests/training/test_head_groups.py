"""Heads side by side: each equals its separate run, and plain torch, whatever stands beside it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from energytune.config import ProbeConfig
from energytune.errors import ConfigError
from energytune.models import TaskModel, build_model, create_backbone
from energytune.models.cut import NoTail
from energytune.models.head_only import head_model
from energytune.tasks import Multiclass
from energytune.training import head_groups
from energytune.training.chain_group import ChainGroup
from energytune.training.dense_group import DenseGroup
from energytune.training.head_groups import check_together, make_groups, split_by_memory
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.module_group import ModuleGroup
from tests.training.side_by_side import (
    BATCH,
    SETTINGS,
    D,
    K,
    N,
    assert_close,
    config_of,
    data,
    gated_runs,
    make_runs,
    train,
    train_with_torch,
)


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


def test_workers_get_as_many_groups_each_where_there_are_enough(monkeypatch) -> None:
    runs = make_runs("linear", torch.float32, 6)
    whole = [(0, 1, 2, 3, 4, 5)]
    two_heads_bytes = 2 * 2 * 4 * (D * K + K)
    pairs = [(0, 1), (2, 3), (4, 5)]
    singles = [(i,) for i in range(6)]
    for group_bytes, n_workers, members in (
        (10**6, 1, whole),
        (10**6, 3, whole),  # one product, on all cores
        (two_heads_bytes, 1, pairs),
        (two_heads_bytes, 3, pairs),
        (two_heads_bytes, 2, [(0, 1), (2, 3), (4, 5)]),
        (two_heads_bytes // 2, 2, singles),
    ):
        monkeypatch.setattr(head_groups, "_GROUP_BYTES", group_bytes)
        placed = make_groups(
            runs, range(6), Multiclass(K), seed=0, per_position=False, n_workers=n_workers
        )
        assert [one.members for one in placed] == members
