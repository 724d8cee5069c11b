from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import islice

import pytest
import torch
from torch import nn

from energytune.config import FinetuneConfig
from energytune.data import TensorSplit
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.training import FinetuneEpoch
from energytune.training.finetune import Finetuner
from energytune.training.sgd import Sgd

CPU = torch.device("cpu")


@pytest.fixture
def make_tuner(make_model, train, valid, task, finetune_config):
    def make(model=None, *, seed=0, ft_lr=0.02, **changes) -> Finetuner:
        smoothing = changes.pop("label_smoothing", 0.0)
        config = finetune_config.model_copy(update=changes)
        return Finetuner(
            make_model() if model is None else model,
            train,
            valid,
            task,
            config,
            ft_lr=ft_lr,
            seed=seed,
            device=CPU,
            label_smoothing=smoothing,
        )

    return make


def dropout_model() -> TaskModel:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
    return TaskModel(network, nn.Linear(16, 3), cut=NoTail(network), spec={})


# the same run, again and in pieces


def test_same_seed_same_records_and_weights(make_tuner, same_tensors) -> None:
    first, second = make_tuner(), make_tuner()
    assert list(first) == list(second)
    assert same_tensors(first.model.state_dict(), second.model.state_dict())
    assert list(make_tuner(seed=1)) != list(make_tuner())


@pytest.mark.parametrize("with_dropout", [False, True])
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_resumed_from_state_equals_uninterrupted(
    make_tuner, same_tensors, stop_after, with_dropout
) -> None:
    def model():
        return dropout_model() if with_dropout else None

    straight = make_tuner(model(), epochs=4)
    expected = list(straight)

    stopped = make_tuner(model(), epochs=4)
    records = list(islice(stopped, stop_after))
    state = stopped.state()
    torch.manual_seed(99)  # another process has drawn other random numbers
    resumed = make_tuner(model(), epochs=4)
    resumed.load_state(state)
    records += list(resumed)

    assert records == expected
    assert resumed.best == straight.best
    assert same_tensors(resumed.model.state_dict(), straight.model.state_dict())
    assert same_tensors(resumed.state()["momentum"], straight.state()["momentum"])
    resumed.load_best()
    straight.load_best()
    assert same_tensors(resumed.model.state_dict(), straight.model.state_dict())


def test_state_stays_as_it_is_when_training_goes_on(make_tuner, same_tensors) -> None:
    tuner = make_tuner()
    next(iter(tuner))
    state = tuner.state()
    weights = {name: value.clone() for name, value in state["model"].items()}
    momentum = {name: value.clone() for name, value in state["momentum"].items()}
    rest = list(tuner)
    assert same_tensors(state["model"], weights)
    assert same_tensors(state["momentum"], momentum)
    tuner.load_state(state)
    assert list(tuner) == rest


def test_state_is_tensors_and_json_values(make_tuner) -> None:
    tuner = make_tuner()
    assert tuner.state()["best"] is None
    next(iter(tuner))
    state = tuner.state()
    tensors = {"model", "momentum", "best_model"}
    assert json.loads(json.dumps({k: v for k, v in state.items() if k not in tensors})) == {
        "epoch": 1,
        "best": asdict(tuner.best),
    }
    assert all(isinstance(t, torch.Tensor) for name in tensors for t in state[name].values())


def test_a_second_iteration_goes_on_where_the_first_stopped(make_tuner) -> None:
    tuner = make_tuner()
    assert [next(iter(tuner)).epoch for _ in range(3)] == [1, 2, 3]
    assert list(tuner) == []


def test_random_numbers_drawn_by_the_consumer_have_no_influence(make_tuner) -> None:
    def disturbed():
        for record in make_tuner(dropout_model()):
            torch.rand(1000)
            yield record

    assert list(disturbed()) == list(make_tuner(dropout_model()))


# what is measured


def test_records_are_those_of_a_loop_in_plain_torch(make_tuner, make_model, train, valid) -> None:
    """A reference in torch.optim, fed with the batches that the split is asked for."""
    asked: list[torch.Tensor] = []

    class Listening(TensorSplit):
        def batches(self, batch_size, *, order=None, augment=False, seed=0):
            asked.append(order)
            return super().batches(batch_size, order=order, augment=augment, seed=seed)

    tuner = make_tuner(weight_decay=1e-3, label_smoothing=0.1)
    tuner._train = Listening(train.images, train.targets)
    records = list(tuner)

    model = make_model()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * 4)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    for record, order in zip(records, asked, strict=True):
        model.train()
        losses, n_correct = [], 0
        for batch in order.split(8):
            logits = model(train.images[batch])
            loss = loss_of(logits, train.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()) * len(batch))
            n_correct += int((logits.argmax(1) == train.targets[batch]).sum())
        model.eval()
        with torch.no_grad():
            logits = model(valid.images)
        assert record.train_loss == pytest.approx(sum(losses) / 29, rel=1e-4)
        assert record.train_acc == n_correct / 29
        assert record.valid_loss == pytest.approx(
            float(nn.functional.cross_entropy(logits, valid.targets)), rel=1e-4
        )
        assert record.valid_acc == pytest.approx(
            float((logits.argmax(1) == valid.targets).float().mean()), abs=1e-6
        )


def test_the_whole_model_is_trained(make_tuner, make_model) -> None:
    fresh = make_model().state_dict()
    tuner = make_tuner(epochs=1)
    list(tuner)
    assert all(not torch.equal(v, fresh[n]) for n, v in tuner.model.state_dict().items())


def test_validation_runs_in_evaluation_mode(make_tuner) -> None:
    tuner = make_tuner(dropout_model())
    record = next(iter(tuner))
    assert not tuner.model.training
    with torch.no_grad():
        again = tuner.model(tuner._valid.images).argmax(1) == tuner._valid.targets
    assert record.valid_acc == int(again.sum()) / 40


def test_the_training_split_is_asked_for_augmentation_and_the_validation_split_is_not(
    make_model, task, train, valid
) -> None:
    calls: list[tuple[str, bool, int, int]] = []

    class Listening(TensorSplit):
        name = ""

        def batches(self, batch_size, *, order=None, augment=False, seed=0):
            calls.append((self.name, augment, seed, -1 if order is None else len(order)))
            return super().batches(batch_size, order=order, augment=augment, seed=seed)

    splits = [Listening(split.images, split.targets) for split in (train, valid)]
    splits[0].name, splits[1].name = "train", "valid"
    for augment in (True, False):
        config = FinetuneConfig(epochs=2, batch_size=8, augment=augment, patience=None)
        tuner = Finetuner(make_model(), *splits, task, config, ft_lr=0.01, seed=0, device=CPU)
        calls.clear()  # a look at one input tells how many fit into one pass
        list(tuner)
        assert [(name, wanted) for name, wanted, _, _ in calls] == [
            ("train", augment),
            ("valid", False),
        ] * 2
        assert calls[0][2] != calls[2][2]  # each epoch draws other augmentations
        assert calls[1][3] == -1  # the whole validation split, in order


def test_evaluation_takes_fewer_large_inputs_at_once(make_model, task, train, valid) -> None:
    """Where a thousand photographs would not fit into memory."""
    sizes: list[int] = []

    class Listening(TensorSplit):
        def batches(self, batch_size, *, order=None, augment=False, seed=0):
            sizes.append(batch_size)
            return super().batches(batch_size, order=order, augment=augment, seed=seed)

    config = FinetuneConfig(epochs=1, batch_size=8, patience=None)
    watched = Listening(valid.images, valid.targets)
    list(Finetuner(make_model(), train, watched, task, config, ft_lr=0.01, seed=0, device=CPU))
    assert sizes[-1] == 1024
    large = Listening(torch.zeros(2, 3, 513, 513), torch.zeros(2))
    tuner = Finetuner(make_model(), train, large, task, config, ft_lr=0.01, seed=0, device=CPU)
    assert tuner._eval_batch == (1 << 24) // (3 * 513 * 513)


# the learning rate


@pytest.fixture
def rates(monkeypatch):
    seen: list[float] = []
    apply = Sgd.apply

    def listening(self, gradients, lr):
        seen.append(lr)
        apply(self, gradients, lr)

    monkeypatch.setattr(Sgd, "apply", listening)
    return seen


def test_cosine_falls_from_the_peak_to_zero(make_tuner, rates) -> None:
    list(make_tuner(ft_lr=0.02))
    n_steps = 3 * 4
    assert rates == pytest.approx(
        [0.02 * (1 + math.cos(math.pi * step / n_steps)) / 2 for step in range(n_steps)]
    )
    assert rates[0] == 0.02
    assert rates == sorted(rates, reverse=True)


def test_cosine_goes_on_after_a_resume(make_tuner, rates) -> None:
    list(make_tuner())
    straight = rates.copy()
    rates.clear()
    tuner = make_tuner()
    next(iter(tuner))
    again = make_tuner()
    again.load_state(tuner.state())
    list(again)
    assert rates == straight


def test_constant_stays(make_tuner, rates) -> None:
    list(make_tuner(ft_lr=0.02, schedule="constant"))
    assert rates == [0.02] * 12


def test_cosine_with_a_last_batch_of_one_left_out(make_model, task, valid, rates) -> None:
    train = TensorSplit(valid.images[:17], valid.targets[:17])
    config = FinetuneConfig(epochs=2, batch_size=8, patience=None)
    list(Finetuner(make_model(), train, valid, task, config, ft_lr=0.1, seed=0, device=CPU))
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * s / 4)) / 2 for s in range(4)])


# the best epoch


@pytest.mark.parametrize(
    ("curve", "best"),
    [
        ([(0.5, 1.0), (0.7, 1.0), (0.6, 0.1)], 2),  # accuracy decides
        ([(0.7, 1.0), (0.7, 0.9), (0.7, 0.95)], 2),  # then the lower loss
        ([(0.7, 1.0), (0.7, 1.0), (0.7, 1.0)], 1),  # then the earlier epoch
        ([(0.1, 1.0), (0.2, 1.0), (0.3, 9.0)], 3),
    ],
)
def test_best_epoch_and_its_weights(make_tuner, same_tensors, monkeypatch, curve, best) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    tuner = make_tuner()
    keep = tuner._keep_if_best

    def scripted(record: FinetuneEpoch) -> None:
        accuracy, loss = curve[record.epoch - 1]
        weights.append({n: v.clone() for n, v in tuner.model.state_dict().items()})
        keep(replace(record, valid_acc=accuracy, valid_loss=loss))

    monkeypatch.setattr(tuner, "_keep_if_best", scripted)
    list(tuner)
    assert tuner.best.epoch == best
    tuner.load_best()
    assert same_tensors(tuner.model.state_dict(), weights[best - 1])


def test_best_of_a_real_run_is_its_best_record(make_tuner) -> None:
    tuner = make_tuner(epochs=5)
    records = list(tuner)
    assert tuner.best == max(records, key=lambda r: (r.valid_acc, -r.valid_loss, -r.epoch))


# failure


def test_divergence_is_a_failed_trial_with_numbers_and_advice(make_tuner) -> None:
    tuner = make_tuner(ft_lr=1e6)
    with pytest.raises(TrialFailure, match=r"diverged: train loss .* at epoch \d.*ft_lr = 1e\+06"):
        list(tuner)


def test_a_validation_loss_that_is_not_finite_fails_too(make_model, train, task) -> None:
    images = train.images.clone()
    images[0, 0] = math.nan
    config = FinetuneConfig(epochs=1, batch_size=8)
    valid = TensorSplit(images, train.targets)
    tuner = Finetuner(make_model(), train, valid, task, config, ft_lr=0.01, seed=0, device=CPU)
    with pytest.raises(TrialFailure, match="validation loss nan"):
        list(tuner)
    assert tuner.best is None


def test_it_learns(make_tuner) -> None:
    records = list(make_tuner(epochs=20))
    assert records[-1].train_acc == 1.0
    assert records[-1].train_loss < 0.2 * records[0].train_loss
