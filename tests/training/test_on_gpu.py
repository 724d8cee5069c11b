"""What only a GPU can show: copies, real want of memory, several GPUs of one finetune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from energytune.config import EngineConfig, FinetuneConfig, InputConfig
from energytune.data import DatasetSplit, TensorSplit
from energytune.data.transforms import EvalTransform, TrainTransform
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.tasks import Multiclass
from energytune.training import micro_batch
from energytune.training.feeding import device_batches
from energytune.training.finetune import Finetuner
from tests.not_run import no_device
from tests.training.test_feeding import CONFIG, Pictures

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not torch.cuda.is_available():
        no_device("NVIDIA GPU")
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(micro_batch, "_known", {})
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def images(n_samples: int = 64, size: int = 32) -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    return TensorSplit(
        torch.randn(n_samples, 3, size, size, generator=generator), torch.arange(n_samples) % 4
    )


def convolutions(*, norm: bool = True, width: int = 16) -> TaskModel:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width) if norm else nn.Identity(), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TaskModel(network, nn.Linear(width, 4), cut=NoTail(network), spec={"backbone": "conv"})


def tuner_of(model: TaskModel, split: TensorSplit, engine: EngineConfig, **more) -> Finetuner:
    config = FinetuneConfig(epochs=2, batch_size=32, patience=None)
    device = more.get("device", GPU)
    return Finetuner(
        model, split, split, Multiclass(4), config, ft_lr=0.05, seed=0, device=device, engine=engine
    )


@pytest.mark.parametrize("augment", [False, True])
def test_photographs_that_are_finished_on_the_gpu_are_those_of_the_cpu(augment: bool) -> None:
    split = DatasetSplit(Pictures(), EvalTransform(CONFIG), TrainTransform(CONFIG), 0)
    wanted = list(split.batches(8, augment=augment, seed=3))
    found = list(device_batches(split, 8, device=GPU, augment=augment, seed=3))
    for (inputs, targets), (there, classes, labels) in zip(wanted, found, strict=True):
        assert there.device == GPU
        assert torch.equal(there.cpu(), inputs)
        assert torch.equal(classes.cpu(), targets)
        assert labels.device.type == "cpu"


def test_bytes_come_in_pinned_memory() -> None:
    config = InputConfig(size=(3, 16, 16))
    split = DatasetSplit(Pictures(), EvalTransform(config), TrainTransform(config), 0)
    pixels, flips, _ = next(split.pixel_batches(8))
    assert pixels.is_pinned()
    assert flips.is_pinned()


def test_a_split_in_memory_is_copied_once() -> None:
    split, order = images(), torch.randperm(64)
    list(device_batches(split, 8, device=GPU, order=order))
    held = torch.cuda.memory_allocated()
    found = torch.cat([x for x, _, _ in device_batches(split, 8, device=GPU, order=order)])
    assert torch.equal(found.cpu(), split.images[order])
    del found
    assert torch.cuda.memory_allocated() == held


@pytest.mark.parametrize(
    "engine",
    [
        EngineConfig(channels_last=True),
        EngineConfig(precision="bf16"),
        EngineConfig(precision="bf16", channels_last=True, compile=True),
    ],
)
def test_every_engine_trains(engine: EngineConfig) -> None:
    plain = list(tuner_of(convolutions(), images(), EngineConfig()))
    ours = list(tuner_of(convolutions(), images(), engine))
    for mine, theirs in zip(ours, plain, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=0.05)


def test_real_want_of_memory_halves_the_batch_and_the_run_stays_the_same() -> None:
    split = images(64, size=128)
    expected = list(tuner_of(convolutions(norm=False, width=256), split, EngineConfig()))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    # 32 activations of 256 x 126 x 126 numbers are 0.5 GB, kept twice for the backward pass
    limit = torch.cuda.memory_reserved() + 7 * 10**8
    torch.cuda.set_per_process_memory_fraction(limit / total)
    cramped = tuner_of(convolutions(norm=False, width=256), split, EngineConfig())
    records = list(cramped)
    assert cramped._trainer._micro.size < 32
    for mine, theirs in zip(records, expected, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-2)


def test_two_gpus_give_the_finetune_of_one_batch_norm_included() -> None:
    if torch.cuda.device_count() < 2:
        no_device("second NVIDIA GPU")
    alone = list(tuner_of(convolutions(), images(), EngineConfig()))
    together = list(tuner_of(convolutions(), images(), EngineConfig(n_processes=2)))
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-2)
        assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-2)
