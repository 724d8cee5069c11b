"""Linear heads as coordinates in the span of their samples: the same descent, less work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.tasks import Multiclass
from energytune.training.dual_group import DualLinearGroup
from energytune.training.head_group import HeadGroup
from energytune.training.linear_group import LinearGroup
from tests.training.dual_heads import (
    PLAIN,
    SETTINGS,
    distances,
    make_runs,
    samples_of,
    span_of,
    train,
    train_with_torch,
)

# the same descent


@pytest.mark.parametrize(
    "shape", [(20, 50), (45, 12), (17, 40)]
)  # the last batch is 4, 5, left out
@pytest.mark.parametrize("options", [SETTINGS, PLAIN], ids=["decayed", "plain"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_each_head_equals_autograd_and_torchs_sgd(
    shape, options, momentum, dtype, tolerance
) -> None:
    features, targets = samples_of(*shape, 5, dtype)
    runs = make_runs(shape[1], 5, dtype, momentum=momentum, options=options)
    group = DualLinearGroup(runs, Multiclass(5), span_of(features))
    train(group, features, targets)
    group.sync()
    for one, plain in zip(
        runs, make_runs(shape[1], 5, dtype, momentum=momentum, options=options), strict=True
    ):
        train_with_torch(plain, features, targets)
        # without momentum torch keeps no buffer to compare with
        names = [n for n in one.state() if momentum or not n.startswith("momentum:")]
        apart = distances(one, plain)
        assert max(apart[name] for name in names) <= tolerance


@settings(max_examples=25, deadline=None)
@given(
    n_heads=st.integers(1, 6),
    n_classes=st.integers(2, 6),
    width=st.integers(1, 30),
    n_samples=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 1000),
    lr=st.floats(1e-4, 0.03),
    decay=st.sampled_from([0.0, 1e-2]),
    momentum=st.sampled_from([0.0, 0.3, 0.9, 0.99]),
)
def test_coordinates_are_the_weights_of_the_direct_form(
    n_heads, n_classes, width, n_samples, batch_size, seed, lr, decay, momentum
) -> None:
    features, targets = samples_of(n_samples, width, n_classes, torch.float64, seed)
    options = [(0.1 * (m % 3), lr, decay * (m % 2), "constant") for m in range(n_heads)]
    pair = [
        make_runs(
            width,
            n_classes,
            torch.float64,
            momentum=momentum,
            options=options,
            batch_size=batch_size,
        )
        for _ in range(2)
    ]
    groups: list[HeadGroup] = [
        DualLinearGroup(pair[0], Multiclass(n_classes), span_of(features)),
        LinearGroup(pair[1], Multiclass(n_classes)),
    ]
    for group in groups:
        train(group, features, targets, range(1, 4))
        group.sync()
        train(group, features, targets, range(4, 6))  # with momentum of samples at the start
        group.sync()
    for one, other in zip(*pair, strict=True):
        for name, value in one.state().items():
            torch.testing.assert_close(value, other.state()[name], rtol=1e-11, atol=1e-13)


def test_hundreds_of_epochs_lose_no_more_digits_than_the_direct_form() -> None:
    n_samples, width, n_classes = 40, 120, 3
    exact, targets = samples_of(n_samples, width, n_classes, torch.float32)
    ends = {}
    for kind in (DualLinearGroup, LinearGroup):
        for dtype in (torch.float32, torch.float64):
            features = exact.to(dtype)
            runs = make_runs(width, n_classes, dtype, options=SETTINGS[:2], batch_size=16)
            group = (
                LinearGroup(runs, Multiclass(n_classes))
                if kind is LinearGroup
                else DualLinearGroup(runs, Multiclass(n_classes), span_of(features))
            )
            train(group, features, targets, range(1, 301))
            group.sync()
            ends[kind, dtype] = runs
    for m in range(2):
        truth = ends[LinearGroup, torch.float64][m]
        lost = {
            kind: distances(ends[kind, torch.float32][m], truth)["head.weight"]
            for kind in (DualLinearGroup, LinearGroup)
        }
        assert lost[DualLinearGroup] <= 2 * lost[LinearGroup]
        assert lost[LinearGroup] < 1e-4
        assert distances(ends[DualLinearGroup, torch.float64][m], truth)["head.weight"] < 1e-12


def test_a_head_that_diverges_spoils_no_other() -> None:
    features, targets = samples_of(20, 50, 5, torch.float32)
    wild = [SETTINGS[0], (0.0, 3e38, 0.0, "constant"), SETTINGS[1]]
    runs = make_runs(50, 5, torch.float32, options=wild)
    group = DualLinearGroup(runs, Multiclass(5), span_of(features))
    train(group, features, targets)
    finite = torch.isfinite(group.logits(features)).flatten(0, 1).all(dim=0)
    assert finite.tolist() == [True, False, True]
    assert torch.isfinite(group.head_norms()).tolist() == [True, False, True]
    alone = make_runs(50, 5, torch.float32, options=[SETTINGS[0]])
    separate = DualLinearGroup(alone, Multiclass(5), span_of(features))
    train(separate, features, targets)
    separate.sync()
    assert distances(runs[0], alone[0])["head.weight"] <= 1e-5


# at a snapshot


@pytest.mark.parametrize("trained", [False, True])
def test_what_is_measured_is_of_the_weights_in_the_runs(trained: bool) -> None:
    features, targets = samples_of(20, 50, 5, torch.float64)
    runs = make_runs(50, 5, torch.float64)
    before = [{k: v.clone() for k, v in run.state().items()} for run in runs]
    group = DualLinearGroup(runs, Multiclass(5), span_of(features))
    if trained:
        train(group, features, targets)
    for run, old in zip(runs, before, strict=True):  # nothing is written while it trains
        assert all(torch.equal(value, old[name]) for name, value in run.state().items())
    logits = group.logits(features)
    for run, old in zip(runs, before, strict=True):
        assert torch.equal(run.model.head.weight, old["head.weight"]) is not trained
    residual = Multiclass(5).residual(logits, targets)
    pulls, norms = group.pull_norms(residual), group.head_norms()
    for m, run in enumerate(runs):
        weight = run.model.head.weight.detach()
        torch.testing.assert_close(logits[:, :, m], run.model.from_features(features).detach())
        torch.testing.assert_close(pulls[:, m], (residual[:, :, m] @ weight).norm(dim=1))
        assert float(norms[m]) == pytest.approx(run.model.head_norm(), rel=1e-12)


def test_training_goes_on_after_a_measurement_as_if_read_back(same_tensors) -> None:
    features, targets = samples_of(20, 50, 5, torch.float32)
    straight, resumed = make_runs(50, 5, torch.float32), make_runs(50, 5, torch.float32)
    one = DualLinearGroup(straight, Multiclass(5), span_of(features))
    train(one, features, targets, range(1, 5))
    one.head_norms()
    for run, source in zip(resumed, straight, strict=True):
        run.load_state(source.state())
    train(one, features, targets, range(5, 9))
    one.sync()
    one.sync()  # once more changes nothing
    other = DualLinearGroup(resumed, Multiclass(5), span_of(features))
    train(other, features, targets, range(5, 9))
    other.sync()
    norms = one.head_norms()  # of the second training, not of the first
    for m, (run, source) in enumerate(zip(resumed, straight, strict=True)):
        assert same_tensors(run.state(), source.state())
        assert float(norms[m]) == pytest.approx(run.model.head_norm(), rel=1e-6)
