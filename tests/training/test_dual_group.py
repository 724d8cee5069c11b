"""Linear heads as coordinates in the span of their samples: the same descent, less work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.config import ProbeConfig, snapshot_epochs
from energytune.models.head_only import head_model
from energytune.tasks import Multiclass
from energytune.training import head_groups
from energytune.training import probe as probe_module
from energytune.training.chain_group import ChainGroup
from energytune.training.dual_group import DualLinearGroup, SampleSpan
from energytune.training.features import TensorFeatures
from energytune.training.head_group import Batch, HeadGroup
from energytune.training.head_groups import PlacedGroup, dual_pays, make_groups, span_that_pays
from energytune.training.head_run import HeadRun
from energytune.training.linear_group import LinearGroup
from energytune.training.order import epoch_order
from energytune.training.probe import probe_heads
from energytune.training.probe_data import ProbeData

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
