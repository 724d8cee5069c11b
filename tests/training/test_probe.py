from __future__ import annotations

import pytest
import torch
from torch import nn

from energytune.config import ProbeConfig, snapshot_epochs
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.science import average_initial_energy, reserved_energy
from energytune.tasks import Multiclass
from energytune.training.features import TensorFeatures
from energytune.training.features_extract import extract_features
from energytune.training.head_run import HeadRun
from energytune.training.order import epoch_order
from energytune.training.probe import probe
from energytune.training.probe_data import ProbeData
from energytune.training.snapshots import SnapshotStore

RECIPES = [("linear", 0, 0.0), ("linear", 0, 0.2), ("mlp", 0, 0.1), ("linear", 2, 0.1)]


@pytest.fixture
def run(make_model, probe_data, task, probe_config):
    """Probes a fresh model; returns it with its snapshots."""

    def start(tau, *, head_arch="linear", depth=0, smoothing=0.1, seed=0, **options):
        model = make_model(head_arch, depth, seed)
        config = options.pop("config", probe_config)
        head = HeadRun(model, config, smoothing, options.pop("trajectory", ""))
        snapshots = list(probe(head, probe_data(depth), task, seed=seed, tau=tau, **options))
        return model, snapshots

    return start


# one trajectory gives every tau


@pytest.mark.parametrize(("head_arch", "depth", "smoothing"), RECIPES)
def test_snapshots_equal_separate_runs_of_each_tau(
    run, store, same_tensors, head_arch, depth, smoothing
) -> None:
    recipe = {"head_arch": head_arch, "depth": depth, "smoothing": smoothing}
    _, whole = run(8, store=store, trajectory="a", **recipe)
    assert [snapshot.epoch for snapshot in whole] == snapshot_epochs(8) == [0, 1, 2, 3, 4, 6, 8]
    for tau in snapshot_epochs(8):
        separate, snapshots = run(tau, **recipe)
        assert snapshots == [s for s in whole if s.epoch <= tau]
        stored = store.load_state("a", tau)
        head = {k: v for k, v in stored.items() if not k.startswith("momentum:")}
        assert same_tensors(head, separate.head_side_state())


@pytest.mark.parametrize(("head_arch", "depth", "smoothing"), RECIPES)
@pytest.mark.parametrize(("first", "second"), [(3, 8), (5, 8), (8, 3), (8, 8), (0, 5), (4, 0)])
def test_resumed_equals_uninterrupted(
    run, store, same_tensors, head_arch, depth, smoothing, first, second
) -> None:
    recipe = {"head_arch": head_arch, "depth": depth, "smoothing": smoothing}
    run(first, store=store, trajectory="a", **recipe)
    epochs: list[int] = []
    resumed, snapshots = run(second, store=store, trajectory="a", on_epoch=epochs.append, **recipe)
    straight, expected = run(second, **recipe)
    assert snapshots == expected
    assert same_tensors(resumed.state_dict(), straight.state_dict())
    shared = max(e for e in snapshot_epochs(second) if e in snapshot_epochs(first))
    assert epochs == list(range(shared + 1, second + 1))


def test_momentum_is_part_of_a_snapshot(run, store) -> None:
    run(4, store=store, trajectory="a")
    stored = store.load_state("a", 4)
    assert {k for k in stored if k.startswith("momentum:")} == {
        "momentum:head.weight",
        "momentum:head.bias",
    }
    assert float(stored["momentum:head.weight"].norm()) > 0


@pytest.mark.parametrize("damaged", [0, 4, 8])
def test_a_damaged_snapshot_is_bridged_and_mended(
    run, store, tmp_path, same_tensors, damaged
) -> None:
    straight, expected = run(8, store=store, trajectory="a")
    path = tmp_path / "trajectories" / "a" / f"e{damaged:07d}.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    again, snapshots = run(8, store=store, trajectory="a")
    assert snapshots == expected
    assert same_tensors(again.state_dict(), straight.state_dict())
    assert path.read_bytes() == content


def test_stopped_between_snapshots_and_run_again(
    run, make_model, probe_data, task, probe_config, store, same_tensors
) -> None:
    head = HeadRun(make_model(), probe_config, 0.1, "a")
    interrupted = probe(head, probe_data(), task, seed=0, tau=8, store=store)
    for _ in range(4):
        next(interrupted)
    interrupted.close()
    resumed, snapshots = run(8, store=store, trajectory="a")
    straight, expected = run(8)
    assert snapshots == expected
    assert same_tensors(resumed.state_dict(), straight.state_dict())


def test_same_seed_same_snapshots_and_another_seed_others(run) -> None:
    assert run(3)[1] == run(3)[1]
    assert run(3)[1] != run(3, seed=1)[1]


def test_random_numbers_drawn_elsewhere_have_no_influence(run) -> None:
    torch.manual_seed(1)
    first = run(2, head_arch="mlp")[1]
    torch.manual_seed(2)
    assert first == run(2, head_arch="mlp")[1]


# the backbone


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_backbone_is_bit_equal_before_and_after(
    run, backbone, make_model, same_tensors, depth
) -> None:
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    fresh = make_model(depth=depth).state_dict()
    model, _ = run(3, depth=depth)
    assert same_tensors(backbone.module.state_dict(), before)
    head_side = set(model.head_side_state())
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, fresh[n])}
    assert moved == head_side  # all of the head side has learnt, nothing of the prefix


def test_backbone_with_batch_norm_and_dropout_is_bit_equal(
    train, valid, task, probe_config, same_tensors
) -> None:
    network = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
    model = TaskModel(network, nn.Linear(16, 3), cut=NoTail(network), spec={})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = [
        TensorFeatures(extract_features(model, split, batch_size=8, device=torch.device("cpu")))
        for split in (train, valid)
    ]
    data = ProbeData(features[0], train.targets, features[1], valid.targets)
    assert len(list(probe(HeadRun(model, probe_config), data, task, seed=0, tau=4))) == 5
    assert "1.running_mean" in before
    assert same_tensors(network.state_dict(), before)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("depth", [0, 2])
def test_cached_features_are_not_written(probe_data, make_model, task, probe_config, depth) -> None:
    data = probe_data(depth)
    everything = torch.arange(29), torch.arange(40)
    copies = data.train.take(everything[0]), data.valid.take(everything[1])
    list(probe(HeadRun(make_model("mlp", depth), probe_config), data, task, seed=0, tau=2))
    assert torch.equal(data.train.take(everything[0]), copies[0])
    assert torch.equal(data.valid.take(everything[1]), copies[1])


# what is measured


def test_numbers_of_a_snapshot_are_those_of_the_whole_model(run, train, valid, task) -> None:
    model, snapshots = run(3, smoothing=0.2)
    model.eval()
    with torch.no_grad():
        logits, held_out = model(train.images), model(valid.images)
    last = snapshots[-1]
    assert last.epoch == 3
    assert last.train_acc == int(task.n_correct(logits, train.targets)) / 29
    assert last.valid_acc == int(task.n_correct(held_out, valid.targets)) / 40
    # without smoothing, and against one-hot targets
    assert last.train_loss == pytest.approx(float(task.loss(logits, train.targets)), rel=1e-5)
    assert last.valid_loss == pytest.approx(float(task.loss(held_out, valid.targets)), rel=1e-5)
    expected = average_initial_energy(task.residual(logits, train.targets))
    assert last.aie == pytest.approx(expected, rel=1e-5)
    head = torch.cat([p.detach().flatten() for p in model.head.parameters()])
    assert last.head_norm == pytest.approx(float(head.norm()), rel=1e-5)
    pull = task.residual(logits, train.targets) @ model.head.weight.detach()
    assert last.pull_norm == pytest.approx(float(pull.norm(dim=1).mean()), rel=1e-5)
    assert last.n_views == 1


def test_tau_0_is_the_random_head(run, make_model, same_tensors) -> None:
    model, (only,) = run(0)
    assert only.epoch == 0
    assert same_tensors(model.state_dict(), make_model().state_dict())


def test_smoothing_has_no_part_in_what_is_measured_at_0(run) -> None:
    assert run(0, smoothing=0.0)[1] == run(0, smoothing=0.3)[1]
    assert run(1, smoothing=0.0)[1] != run(1, smoothing=0.3)[1]


def test_energy_falls_on_a_separable_task(run) -> None:
    config = ProbeConfig(lr=1.0, momentum=0.9, batch_size=8)
    _, snapshots = run(128, smoothing=0.0, config=config)
    energies = [snapshot.aie for snapshot in snapshots]
    assert energies[-1] < 0.1 * energies[0]
    assert snapshots[-1].train_acc == 1.0


@pytest.mark.parametrize("label_smoothing", [0.1, 0.3])
def test_smoothing_reserves_its_energy_when_tau_is_large(label_smoothing) -> None:
    n_classes = 4
    targets = torch.arange(8) % n_classes
    features = TensorFeatures(3 * torch.nn.functional.one_hot(targets, n_classes).float())
    data = ProbeData(features, targets, features, targets)
    nothing = nn.Identity()
    torch.manual_seed(0)
    model = TaskModel(nothing, nn.Linear(n_classes, n_classes), cut=NoTail(nothing), spec={})
    run = HeadRun(model, ProbeConfig(lr=1.0, momentum=0.9, batch_size=8), label_smoothing)
    *_, last = probe(run, data, Multiclass(n_classes), seed=0, tau=200)
    assert last.train_acc == 1.0
    assert last.aie == pytest.approx(reserved_energy(label_smoothing, n_classes), abs=1e-4)


# order of the batches


@pytest.mark.parametrize(("n_samples", "n_used"), [(16, 16), (17, 16), (18, 18), (1, 1), (9, 8)])
def test_order_leaves_out_a_last_batch_of_one(n_samples, n_used) -> None:
    order = epoch_order(n_samples, 0, "probe", 1, 8)
    assert len(order) == n_used
    assert len(set(order.tolist())) == n_used
    assert set(order.tolist()) <= set(range(n_samples))


def test_every_sample_is_used_in_some_epoch() -> None:
    seen: set[int] = set()
    for epoch in range(1, 40):
        seen |= set(epoch_order(9, 0, "probe", epoch, 8).tolist())
    assert seen == set(range(9))


def test_order_depends_on_seed_stage_and_epoch() -> None:
    orders = [
        epoch_order(50, *key, 8).tolist()
        for key in [(0, "probe", 1), (1, "probe", 1), (0, "finetune", 1), (0, "probe", 2)]
    ]
    assert all(a != b for i, a in enumerate(orders) for b in orders[i + 1 :])
    assert orders[0] == epoch_order(50, 0, "probe", 1, 8).tolist()


# failure


def test_divergence_is_a_failed_trial_with_numbers_and_advice(run, probe_data, store) -> None:
    config = ProbeConfig(lr=1e38, batch_size=8)
    with pytest.raises(TrialFailure, match=r"not finite at epoch \d.*Lower probe\.lr"):
        run(8, config=config, store=store, trajectory="a")
    assert store.load_record("a", 0) is not None
    assert store.load_record("a", 8) is None


def test_a_snapshot_that_vanishes_while_it_is_read(run, store, tmp_path) -> None:
    class Vanishing(SnapshotStore):
        def load_state(self, trajectory, epoch):
            return None

    run(2, store=store, trajectory="a")
    with pytest.raises(TrialFailure, match="epoch 2 vanished"):
        run(4, store=Vanishing(tmp_path / "trajectories"), trajectory="a")
