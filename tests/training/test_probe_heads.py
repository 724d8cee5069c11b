"""Many heads in one pass: what is yielded, stored, stopped and gone on with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from energytune.config import ProbeConfig, snapshot_epochs
from energytune.errors import ConfigError, TrialFailure
from energytune.models.head_only import head_model
from energytune.science import average_initial_energy
from energytune.tasks import Multiclass, MultiLabel, PerPixel
from energytune.training import ProbeSnapshot
from energytune.training.features import TensorFeatures
from energytune.training.head_run import HeadRun
from energytune.training.probe import has_converged, probe_heads
from energytune.training.probe_data import ProbeData

SMOOTHINGS = (0.0, 0.1, 0.3)


@pytest.fixture
def make_runs(make_model, probe_config):
    """Linear, MLP and depth-0 heads of several smoothings; fresh at every call."""

    def make(trajectory: str = "", config: ProbeConfig = probe_config) -> list[HeadRun]:
        return [
            HeadRun(
                head_model(arch, 128, 3, seed=0),
                config,
                smoothing,
                trajectory and f"{trajectory}-{arch}-{smoothing}",
            )
            for arch in ("linear", "mlp")
            for smoothing in SMOOTHINGS
        ]

    return make


@pytest.fixture
def run_all(make_runs, probe_data, task):
    """Probes all heads; returns runs, snapshots by run, and the epochs really run."""

    def start(tau: int, runs: list[HeadRun] | None = None, trajectory: str = "", **options):
        runs = make_runs(trajectory) if runs is None else runs
        seen: list[list[ProbeSnapshot]] = [[] for _ in runs]
        epochs: list[int] = []
        for index, outcome in probe_heads(
            runs, probe_data(), task, seed=0, tau=tau, on_epoch=epochs.append, **options
        ):
            seen[index].append(outcome)
        return runs, seen, epochs

    return start


def same(one: HeadRun, other: HeadRun) -> bool:
    mine, theirs = one.state(), other.state()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_every_head_is_seen_at_every_epoch_of_the_grid(run_all) -> None:
    _, seen, epochs = run_all(8)
    assert epochs == list(range(1, 9))  # one pass for all
    assert [[s.epoch for s in curve] for curve in seen] == [snapshot_epochs(8)] * 6
    # smoothing has no part in the random head
    assert seen[0][0].aie == pytest.approx(seen[1][0].aie, rel=1e-6)
    assert len({curve[-1].aie for curve in seen}) == 6


def test_a_head_only_model_is_that_of_the_whole_network(
    run_all, make_model, probe_data, task, probe_config
) -> None:
    whole = HeadRun(make_model("mlp"), probe_config, 0.1)
    alone = HeadRun(head_model("mlp", 128, 3, seed=0), probe_config, 0.1)
    _, (first,), _ = run_all(4, [whole])
    _, (second,), _ = run_all(4, [alone])
    assert first == second
    assert torch.equal(whole.model.head[2].weight, alone.model.head[2].weight)


@pytest.mark.parametrize(("first", "second"), [(3, 8), (8, 8), (5, 11), (0, 4)])
def test_a_later_pass_goes_on_where_the_first_stopped(run_all, store, first, second) -> None:
    run_all(first, trajectory="a", store=store)
    resumed, seen, epochs = run_all(second, trajectory="a", store=store)
    straight, expected, _ = run_all(second)
    assert seen == expected
    assert all(same(one, other) for one, other in zip(resumed, straight, strict=True))
    shared = max(set(snapshot_epochs(first)) & set(snapshot_epochs(second)))
    assert epochs == list(range(shared + 1, second + 1))


def test_heads_with_fewer_snapshots_join_when_the_others_are_there(
    run_all, make_runs, store
) -> None:
    run_all(8, make_runs("a")[:2], store=store)
    run_all(3, make_runs("a")[2:4], store=store)
    _, seen, epochs = run_all(8, trajectory="a", store=store)
    assert epochs == list(range(1, 9))  # the last two begin at 0
    assert [[s.epoch for s in curve] for curve in seen] == [snapshot_epochs(8)] * 6
    _, expected, _ = run_all(8)
    for mine, theirs in zip(seen, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.aie == pytest.approx(other.aie, rel=1e-5)


def test_seeds_of_the_order_differ(make_runs, probe_data, task) -> None:
    ends = []
    for seed in (0, 0, 1):
        runs = make_runs()
        ends.append([s for _, s in probe_heads(runs, probe_data(), task, seed=seed, tau=2)])
    assert ends[0] == ends[1]
    assert ends[0] != ends[2]


# stopping


def snapshot(epoch: int, train_acc: float) -> ProbeSnapshot:
    return ProbeSnapshot(epoch, train_acc, 1.0, 0.5, 1.0, 0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("curve", "converged"),
    [
        ([(16, 0.9), (23, 0.9), (32, 0.9)], True),
        ([(11, 0.5), (16, 0.9), (23, 0.9), (32, 0.9)], True),
        ([(16, 0.9), (23, 0.8), (32, 0.9)], False),
        ([(23, 0.9), (32, 0.9)], False),
        ([(11, 0.9), (16, 0.9), (23, 0.9)], False),  # at chance a slow head stands still too
        ([], False),
    ],
)
def test_convergence_is_no_change_over_several_snapshots(curve, converged) -> None:
    assert has_converged([snapshot(*point) for point in curve], 3) is converged


def test_a_converged_head_stops_and_goes_on_when_asked(run_all, make_runs, store) -> None:
    config = ProbeConfig(lr=0.3, momentum=0.9, batch_size=8)
    runs = make_runs("a", config)
    runs[0].config = config.model_copy(update={"lr": 1e-3})  # a slow one
    _, seen, epochs = run_all(128, runs, store=store, n_converged=3)
    last = [curve[-1].epoch for curve in seen]
    assert len(set(last)) > 1  # not all at once
    assert max(last[1:]) < 128
    assert epochs == list(range(1, max(last) + 1))
    for curve in seen[1:]:
        assert has_converged(curve, 3)
        assert not has_converged(curve[:-1], 3)

    again = make_runs("a", config)
    again[0].config = runs[0].config
    _, stored, none = run_all(max(last), again, store=store, n_converged=3)
    assert (stored, none) == (seen, [])  # the same answer from what is stored
    assert all(same(one, other) for one, other in zip(again, runs, strict=True))

    further = make_runs("a", config)
    further[0].config = runs[0].config
    _, whole, more = run_all(128, further, store=store)
    assert more == list(range(min(last) + 1, 129))
    assert [c[: len(part)] for c, part in zip(whole, seen, strict=True)] == seen
    assert [curve[-1].epoch for curve in whole] == [128] * 6


def test_a_head_that_diverges_is_told_and_the_others_go_on(make_runs, probe_data, task) -> None:
    runs = make_runs()
    runs[1].config = runs[1].config.model_copy(update={"lr": 1e38})
    outcomes: dict[int, list] = {index: [] for index in range(6)}
    for index, outcome in probe_heads(runs, probe_data(), task, seed=0, tau=8):
        outcomes[index].append(outcome)
    assert isinstance(outcomes[1][-1], TrialFailure)
    assert "Lower probe.lr" in str(outcomes[1][-1])
    assert len(outcomes[1]) < 7
    for index in (0, 2, 3, 4, 5):
        assert [s.epoch for s in outcomes[index]] == snapshot_epochs(8)


# memory


def test_heads_that_do_not_fit_are_probed_in_several_passes(run_all, make_runs) -> None:
    _, expected, _ = run_all(4)
    linear = 4 * 4 * (128 * 3 + 3)
    _, seen, epochs = run_all(4, memory_bytes=3 * linear)
    # three linear heads, then each MLP by itself
    assert epochs == [1, 2, 3, 4] * 4
    for mine, theirs in zip(seen, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.aie == pytest.approx(other.aie, rel=1e-5)


def test_no_head_at_all_is_refused(probe_data, task) -> None:
    with pytest.raises(ConfigError, match="at least one head"):
        list(probe_heads([], probe_data(), task, seed=0, tau=1))


# views


class Recorder(TensorFeatures):
    """Notes which views are read."""

    def __init__(self, tensor: Tensor, views: Tensor) -> None:
        super().__init__(tensor, views)
        self.seen: list[int] = []

    def take(self, indices: Tensor, view: int = 0) -> Tensor:
        self.seen.append(view)
        return super().take(indices, view)


def test_epochs_take_the_views_in_turn_and_are_measured_on_the_first(task) -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(3, 12, 6, generator=generator)
    plain, targets = torch.randn(12, 6, generator=generator), torch.arange(12) % 3
    train = Recorder(plain, views)
    data = ProbeData(train, targets, TensorFeatures(plain), targets)
    run = HeadRun(head_model("linear", 6, 3, seed=0), ProbeConfig(batch_size=4, n_views=3))
    *_, (_, last) = probe_heads([run], data, task, seed=0, tau=5)
    assert train.seen == [1, 2, 3, 1, 2]
    assert last.n_views == 3
    residual = task.residual(run.model.from_features(plain).detach(), targets)
    assert last.aie == pytest.approx(average_initial_energy(residual), rel=1e-5)


# other targets


def test_multi_label_heads_are_measured_by_roc_auc() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(6, 4, generator=generator)
    features = torch.randn(40, 6, generator=generator)
    targets = (features @ truth > 0).float()
    targets[torch.rand(40, 4, generator=generator) < 0.2] = float("nan")
    data = ProbeData(TensorFeatures(features), targets, TensorFeatures(features), targets)
    runs = [
        HeadRun(head_model(arch, 6, 4, seed=0), ProbeConfig(lr=0.1, batch_size=8))
        for arch in ("linear", "mlp")
    ]
    ends: dict[int, ProbeSnapshot] = {}
    first: dict[int, ProbeSnapshot] = {}
    for index, outcome in probe_heads(runs, data, MultiLabel(4), seed=0, tau=64):
        first.setdefault(index, outcome)
        ends[index] = outcome
    for index in (0, 1):
        assert ends[index].train_acc > 0.95 > first[index].train_acc
        assert ends[index].aie < 0.7 * first[index].aie


@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_maps_of_features_are_probed_pixel_by_pixel(head_arch: str) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(10, 6, 3, 3, generator=generator)  # (N, D, H, W)
    targets = maps[:, :4].argmax(dim=1)  # (N, H, W)
    targets[:, 0, 0] = 255
    rows, flat = maps.movedim(1, -1).reshape(-1, 6), targets.reshape(-1)
    task, config = PerPixel(4), ProbeConfig(lr=0.1, batch_size=10)
    spatial = HeadRun(head_model(head_arch, 6, 4, seed=0), config)
    data = ProbeData(TensorFeatures(maps), targets, TensorFeatures(maps), targets)
    outcomes = [s for _, s in probe_heads([spatial], data, task, seed=0, tau=64)]
    with torch.no_grad():
        logits = spatial.model.from_features(rows)
    known = flat != 255
    assert outcomes[-1].train_acc > 0.8 > outcomes[0].train_acc  # mIoU
    assert outcomes[-1].train_loss == pytest.approx(float(task.loss(logits, flat)), rel=1e-4)
    expected = average_initial_energy(Multiclass(4).residual(logits[known], flat[known]))
    assert outcomes[-1].aie == pytest.approx(expected, rel=1e-5)


# several workers


def test_workers_change_nothing_but_the_rounding(run_all, monkeypatch) -> None:
    _, expected, _ = run_all(8)
    # small groups, so that there is one for each worker
    monkeypatch.setattr("energytune.training.head_groups._GROUP_BYTES", 8_000)
    runs, seen, epochs = run_all(8, n_workers=2)
    again, same_again, _ = run_all(8, n_workers=2)
    assert epochs == list(range(1, 9))
    assert seen == same_again  # whoever is first
    assert all(same(one, other) for one, other in zip(runs, again, strict=True))
    for mine, theirs in zip(seen, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.aie == pytest.approx(other.aie, rel=1e-5)
            assert one.train_acc == other.train_acc
