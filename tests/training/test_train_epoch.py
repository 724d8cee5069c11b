"""Halved batches: the same steps, whatever fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from energytune.config import EngineConfig, FinetuneConfig
from energytune.data import TensorSplit
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.tasks import Multiclass, MultiLabel, PerPixel, Task
from energytune.training import micro_batch
from energytune.training.finetune import Finetuner
from energytune.training.micro_batch import MicroBatch
from energytune.training.sgd import Sgd
from energytune.training.train_epoch import Course, EpochTotals, EpochTrainer, Share

CPU = torch.device("cpu")
COURSE = Course(FinetuneConfig(batch_size=8, epochs=2), 0.1, 0, 0.1, EngineConfig())


@pytest.fixture(autouse=True)
def _own_memory(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(micro_batch, "_known", {})


@dataclass(frozen=True)
class Case:
    task: Task
    network: nn.Module
    inputs: torch.Tensor
    targets: torch.Tensor


def make_case(kind: str, n_samples: int, seed: int) -> Case:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    if kind == "pixels":
        inputs = torch.randn(n_samples, 2, 5, 4, generator=generator)
        targets = torch.randint(3, (n_samples, 5, 4), generator=generator)
        targets[torch.rand(targets.shape, generator=generator) < 0.6] = 255
        targets[0] = 255
        network: nn.Module = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)
        )
        return Case(PerPixel(3), network.double(), inputs.double(), targets)
    inputs = torch.randn(n_samples, 6, generator=generator)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    if kind == "labels":
        labels = torch.randint(2, (n_samples, 3), generator=generator).float()
        labels[torch.rand(labels.shape, generator=generator) < 0.6] = torch.nan
        labels[0] = torch.nan
        return Case(MultiLabel(3), network.double(), inputs.double(), labels)
    targets = torch.randint(3, (n_samples,), generator=generator)
    return Case(Multiclass(3), network.double(), inputs.double(), targets)


def trainer_of(case: Case, size: int, network: nn.Module | None = None) -> EpochTrainer:
    optimizer = Sgd(list(case.network.named_parameters()), momentum=0.9, weight_decay=0.0)
    micro = MicroBatch({"test": True}, len(case.inputs))
    micro.size = size
    return EpochTrainer(network or case.network, case.task, COURSE, optimizer, micro, CPU)


def totals_of(task: Task) -> EpochTotals:
    return EpochTotals(torch.zeros((), dtype=torch.float64), 0, task.meter())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["classes", "labels", "pixels"]),
    st.integers(1, 17),
    st.integers(1, 17),
    st.integers(0, 10**6),
)
def test_the_gradient_of_pieces_is_that_of_the_batch(
    kind: str, n_samples: int, size: int, seed: int
) -> None:
    """With missing labels and pixels to ignore: some pieces may have none at all."""
    case = make_case(kind, n_samples, seed)
    loss = case.task.loss(case.network(case.inputs), case.targets, 0.1)
    expected = torch.autograd.grad(loss, list(case.network.parameters()))
    totals = totals_of(case.task)
    batch = case.inputs, case.targets, case.targets
    found = trainer_of(case, size)._gradients(*batch, totals, n_samples)
    for ours, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-9, atol=1e-12)
    mean, score = totals.result()
    assert mean == pytest.approx(float(loss.detach()), abs=1e-12)
    meter = case.task.meter()
    meter.update(case.network(case.inputs), case.targets)
    assert score == float(meter.compute())


class Cramped(nn.Module):
    """A network on a device that holds so many samples of a training step, and then more."""

    def __init__(self, inner: nn.Module, room: int) -> None:
        super().__init__()
        self.inner, self.room = inner, room
        self.asked: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.asked.append(len(x))
            if len(x) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        found: torch.Tensor = self.inner(x)
        return found


class CrampedBackward(torch.autograd.Function):
    """Has no room for the backward pass of more than four samples."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if len(gradient) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return gradient


@pytest.mark.parametrize("kind", ["classes", "labels", "pixels"])
def test_a_step_is_taken_whole_though_memory_runs_out_in_its_middle(kind: str) -> None:
    """In the backward pass of the first piece, and in the forward pass of a later one."""
    case = make_case(kind, 13, 3)
    loss = case.task.loss(case.network(case.inputs), case.targets, 0.1)
    expected = torch.autograd.grad(loss, list(case.network.parameters()))
    calls: list[int] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        if len(calls) == 4:
            raise RuntimeError("CUDA error: out of memory")
        return CrampedBackward.apply(case.network(x))

    trainer = trainer_of(case, 13)
    trainer._forward = network
    totals = totals_of(case.task)
    found = trainer._gradients(case.inputs, case.targets, case.targets, totals, 13)
    for ours, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-9, atol=1e-12)
    assert totals.result()[0] == pytest.approx(float(loss.detach()), abs=1e-12)
    assert calls[:4] == [13, 7, 4, 3]
    assert calls[4:] == [3, 2, 2, 2]


# whole finetunes


def model_with(room: int, *, n_inputs: int = 64) -> TaskModel:
    torch.manual_seed(5)
    network = Cramped(nn.Sequential(nn.Linear(n_inputs, 16), nn.ReLU()), room)
    return TaskModel(network, nn.Linear(16, 3), cut=NoTail(network), spec={"backbone": "cramped"})


@pytest.fixture
def tune(train, valid, task, finetune_config):
    def make(room: int, **changes) -> tuple[Finetuner, Cramped]:
        model = model_with(room)
        config = finetune_config.model_copy(update=changes)
        tuner = Finetuner(model, train, valid, task, config, ft_lr=0.02, seed=0, device=CPU)
        assert isinstance(model.backbone, Cramped)
        return tuner, model.backbone

    return make


@pytest.mark.parametrize("room", [4, 2, 1])
def test_a_finetune_without_room_for_a_batch_is_the_same_finetune(tune, room: int) -> None:
    straight, _ = tune(1000)
    halved, network = tune(room)
    for ours, whole in zip(list(halved), list(straight), strict=True):
        assert ours.train_loss == pytest.approx(whole.train_loss, rel=1e-5)
        assert ours.valid_loss == pytest.approx(whole.valid_loss, rel=1e-5)
        assert (ours.train_acc, ours.valid_acc) == (whole.train_acc, whole.valid_acc)
    assert sum(size <= room for size in network.asked) >= 3 * 29 // room


def test_the_next_trial_of_that_shape_begins_with_what_fitted(tune) -> None:
    first, network = tune(4)
    list(first)
    assert network.asked[:3] == [8, 4, 4]
    second, network = tune(4)
    list(second)
    assert max(network.asked) == 4


def test_resumed_from_a_state_it_goes_on_with_what_fitted(tune) -> None:
    learns_it, _ = tune(2)
    list(learns_it)
    straight, _ = tune(2)
    expected = list(straight)
    stopped, _ = tune(2)
    records = [next(iter(stopped))]
    resumed, _ = tune(2)
    resumed.load_state(stopped.state())
    assert [*records, *resumed] == expected


def test_after_three_halvings_the_trial_fails_with_advice(tune) -> None:
    tuner, network = tune(0)
    with pytest.raises(TrialFailure, match="after 3 halvings: CUDA out of memory"):
        list(tuner)
    assert network.asked == [8, 4, 2, 1]


def test_another_error_of_the_network_is_no_want_of_memory(tune) -> None:
    tuner, network = tune(1000)
    network.inner = nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        list(tuner)
    assert network.asked == [8]


def test_batch_normalisation_never_sees_a_single_sample(train, valid, task) -> None:
    torch.manual_seed(5)
    inner = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU())
    network = Cramped(inner, 3)
    model = TaskModel(network, nn.Linear(16, 3), cut=NoTail(network), spec={})
    config = FinetuneConfig(epochs=2, batch_size=8, patience=None)
    odd = TensorSplit(train.images[:27], train.targets[:27])  # the last batch has 3
    records = list(Finetuner(model, odd, valid, task, config, ft_lr=0.02, seed=0, device=CPU))
    assert records[-1].train_loss < records[0].train_loss
    assert min(network.asked) == 2


# shares of several processes


@given(st.integers(1, 70), st.integers(1, 9))
def test_shares_are_all_of_a_batch(n_samples: int, n_processes: int) -> None:
    batch = torch.arange(n_samples)
    shares = [Share(rank, n_processes) for rank in range(n_processes)]
    counted = [share.of(batch) for share in shares if share.counts(n_samples)]
    assert torch.equal(torch.cat(counted), batch)
    assert all(len(share.of(batch)) >= 1 for share in shares)
    assert max(len(share.of(batch)) for share in shares) == shares[0].largest(n_samples)


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 70))
def test_all_processes_part_their_shares_into_as_many_pieces(
    n_samples: int, n_processes: int, size: int
) -> None:
    shares = [Share(rank, n_processes) for rank in range(n_processes)]
    (n_pieces,) = {share.n_pieces(n_samples, size) for share in shares}
    for share in shares:
        parts = share.of(torch.arange(n_samples)).tensor_split(n_pieces)
        assert all(len(part) for part in parts)


def summed_into(summed: torch.Tensor) -> Callable[[torch.Tensor], object]:
    return lambda flat: flat.copy_(summed)


def test_the_gradients_of_shares_make_that_of_the_batch() -> None:
    """Three processes one after the other, and a sum in place of the group's."""
    from energytune.training import team_link

    for kind in ("classes", "labels", "pixels"):
        case = make_case(kind, 11, 1)
        loss = case.task.loss(case.network(case.inputs), case.targets, 0.1)
        expected = torch.autograd.grad(loss, list(case.network.parameters()))
        sent: list[torch.Tensor] = []

        def keep(flat: torch.Tensor, sent: list[torch.Tensor] = sent) -> None:
            sent.append(flat.clone())

        n_seen = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(team_link.dist, "all_reduce", keep)
            for rank in range(3):
                trainer = trainer_of(case, 2)
                trainer._share, trainer._mean_gradient = Share(rank, 3), team_link.mean_gradient
                own = trainer._share.of(torch.arange(11))
                totals = totals_of(case.task)
                part = case.inputs[own], case.targets[own], case.targets[own]
                trainer._gradients(*part, totals, 11)
                n_seen += totals.n_labelled
            summed = torch.stack(sent).sum(dim=0)
            patch.setattr(team_link.dist, "all_reduce", summed_into(summed))
            zeros = [torch.zeros_like(g) for g in expected]
            found = team_link.mean_gradient(zeros, 0)
        assert n_seen == case.task.n_labelled(case.targets)
        for ours, whole in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, whole, rtol=1e-9, atol=1e-12)
