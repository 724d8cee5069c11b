"""When linear heads train in the span of their samples, and what a pass then gives."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import snapshot_epochs
from energytune.models.head_only import head_model
from energytune.tasks import Multiclass
from energytune.training import head_groups
from energytune.training import probe as probe_module
from energytune.training.chain_group import ChainGroup
from energytune.training.dual_group import DualLinearGroup, SampleSpan
from energytune.training.features import TensorFeatures
from energytune.training.head_groups import PlacedGroup, dual_pays, make_groups, span_that_pays
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.probe import probe_heads
from energytune.training.probe_data import ProbeData
from tests.training.dual_heads import (
    SETTINGS,
    make_runs,
    samples_of,
    span_of,
)

# the samples


def test_a_span_is_of_features_in_memory_in_one_view() -> None:
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    span = span_of(x)
    assert span.shape == (6, 9)
    assert span.features.data_ptr() == x.data_ptr()  # no copy
    torch.testing.assert_close(span.gram, x @ x.t())
    assert span.gram is span.gram
    assert span_of(x.half()).features.dtype == torch.float32
    assert span_of(x.double()).gram.dtype == torch.float64
    assert SampleSpan.of(TensorFeatures(x, x.expand(2, 6, 9))) is None
    assert SampleSpan.of(TensorFeatures(x.view(6, 3, 3))) is None
    assert SampleSpan.of(TensorFeatures(x[:0])) is None


# when


@pytest.mark.parametrize(
    ("n_samples", "width", "batch_size", "n_columns", "first"),
    [  # the first number of epochs that pays
        (1000, 2048, 32, 3200, 5),
        (1000, 2048, 128, 3200, 5),
        (1000, 2048, 32, 80, 50),  # few columns: calls and the products of samples weigh more
        (200, 2048, 32, 3200, 3),
        (1000, 1024, 32, 3200, None),  # would need more memory
        (1000, 128, 32, 3200, None),
        (10, 128, 8, 6, None),  # so little that the calls are all there is
    ],
)
def test_it_pays_for_wide_features_many_columns_and_long_segments(
    n_samples, width, batch_size, n_columns, first
) -> None:
    paying = [
        n_epochs
        for n_epochs in range(200)
        if dual_pays(
            n_samples, width, batch_size=batch_size, n_columns=n_columns, n_epochs=n_epochs
        )
    ]
    assert paying == ([] if first is None else list(range(first, 200)))


@given(
    n_samples=st.integers(1, 5000),
    width=st.integers(1, 5000),
    batch_size=st.integers(1, 512),
    n_columns=st.integers(0, 10**5),
    n_epochs=st.integers(0, 500),
)
def test_more_columns_epochs_or_features_never_speak_against_it(
    n_samples, width, batch_size, n_columns, n_epochs
) -> None:
    def pays(width: int, n_columns: int, n_epochs: int) -> bool:
        return dual_pays(
            n_samples, width, batch_size=batch_size, n_columns=n_columns, n_epochs=n_epochs
        )

    if pays(width, n_columns, n_epochs):
        assert 2 * n_samples <= width
        assert pays(width, n_columns, 2 * n_epochs)
        assert pays(width, 2 * n_columns, n_epochs)
        assert pays(2 * width, n_columns, n_epochs)


def test_only_linear_heads_take_the_span() -> None:
    features, _ = samples_of(20, 2048, 50, torch.float32)
    span = span_of(features)
    linear = make_runs(2048, 50, torch.float32)
    config = linear[0].config
    mlp = HeadRun(head_model("mlp", 2048, 50, seed=0), config)
    runs = [linear[0], mlp, *linear[1:]]
    assert span_that_pays(span, runs, range(5), 64) is span
    assert span_that_pays(span, runs, range(5), 1) is None
    assert span_that_pays(span, runs, [1], 64) is None
    assert span_that_pays(None, runs, range(5), 64) is None
    task = Multiclass(50)
    placed = make_groups(runs, range(5), task, seed=0, per_position=False, span=span)
    kinds = {type(one.group): one.members for one in placed}
    assert kinds == {DualLinearGroup: (0, 2, 3, 4), ChainGroup: (1,)}


def test_groups_are_sized_by_what_a_step_passes_over(monkeypatch) -> None:
    n_samples, width, n_classes = 20, 80, 5
    features, _ = samples_of(n_samples, width, n_classes, torch.float32)
    runs = make_runs(width, n_classes, torch.float32)
    # weights and momentum of two heads, and a little for the biases
    monkeypatch.setattr(head_groups, "_GROUP_BYTES", 2 * 2 * 4 * (width + 1) * n_classes)

    def sizes(span: SampleSpan | None) -> list[int]:
        placed = make_groups(
            runs, range(4), Multiclass(n_classes), seed=0, per_position=False, span=span
        )
        return [len(one.members) for one in placed]

    assert sizes(None) == [2, 2]
    assert sizes(span_of(features)) == [4]


# within probing


class Case:
    """A small task on wide features, on which long segments are dual."""

    def __init__(self) -> None:
        self.n_classes = 40
        features, targets = samples_of(29, 600, self.n_classes, torch.float32)
        valid, valid_targets = samples_of(12, 600, self.n_classes, torch.float32, seed=2)
        self.data = ProbeData(
            TensorFeatures(features), targets, TensorFeatures(valid), valid_targets
        )

    def runs(self, trajectory: str = "") -> list[HeadRun]:
        runs = make_runs(600, self.n_classes, torch.float32, options=SETTINGS * 5)
        for index, run in enumerate(runs):
            run.trajectory = trajectory and f"{trajectory}-{index}"
        return runs

    def probe(self, runs: list[HeadRun], tau: int, **options) -> Iterator:
        return probe_heads(runs, self.data, Multiclass(self.n_classes), seed=0, tau=tau, **options)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.fixture
def trained_epochs(monkeypatch) -> dict[type, set[int]]:
    """The epochs that each form of linear heads trained."""
    seen: dict[type, set[int]] = {DualLinearGroup: set(), LinearGroup: set()}
    for kind in seen:
        original = kind.begin_epoch

        def begin_epoch(self, epoch, n_steps, original=original, kind=kind) -> None:
            seen[kind].add(epoch)
            original(self, epoch, n_steps)

        monkeypatch.setattr(kind, "begin_epoch", begin_epoch)
    return seen


def test_short_segments_are_direct_and_long_ones_dual(case, trained_epochs, monkeypatch) -> None:
    spans = []

    def counting(*args, span: SampleSpan | None, **options) -> list[PlacedGroup]:
        spans.append(span)
        return make_groups(*args, span=span, **options)

    monkeypatch.setattr(probe_module, "make_groups", counting)
    epochs: list[int] = []
    outcomes = list(case.probe(case.runs(), 23, on_epoch=epochs.append))
    assert epochs == list(range(1, 24))
    assert [s.epoch for index, s in outcomes if index == 19] == snapshot_epochs(23)
    assert trained_epochs[LinearGroup] == set(range(1, 9))
    assert trained_epochs[DualLinearGroup] == set(range(9, 24))  # 8 to 11, 11 to 16, 16 to 23
    assert [span is not None for span in spans] == [False, True]  # and groups are kept meanwhile


@pytest.mark.parametrize("first", [4, 8, 16])  # before, at and after the change of form
def test_a_resumed_trajectory_is_the_same_bit_for_bit(
    case, store, trained_epochs, same_tensors, first
) -> None:
    straight, resumed = case.runs(), case.runs("a")
    expected = list(case.probe(straight, 23))
    list(case.probe(case.runs("a"), first, store=store))
    for epochs in trained_epochs.values():
        epochs.clear()
    seen = list(case.probe(resumed, 23, store=store))
    assert trained_epochs == {
        LinearGroup: set(range(first + 1, 9)),
        DualLinearGroup: set(range(max(first, 8) + 1, 24)),
    }
    assert sorted(seen, key=str) == sorted(expected, key=str)
    for one, other in zip(resumed, straight, strict=True):
        assert same_tensors(one.state(), other.state())


def test_both_forms_tell_the_same(case, monkeypatch, trained_epochs) -> None:
    dual = list(case.probe(case.runs(), 16))
    assert trained_epochs[DualLinearGroup]
    trained_epochs[DualLinearGroup].clear()
    monkeypatch.setattr(probe_module, "span_that_pays", lambda *_: None)
    direct = list(case.probe(case.runs(), 16))
    assert not trained_epochs[DualLinearGroup]
    for (index, one), (other_index, other) in zip(dual, direct, strict=True):
        assert (index, one.epoch) == (other_index, other.epoch)
        for name in ("train_loss", "valid_loss", "aie", "pull_norm", "head_norm"):
            assert math.isclose(getattr(one, name), getattr(other, name), rel_tol=1e-5), name
