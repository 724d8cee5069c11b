from __future__ import annotations

import pytest
import torch
from torch import nn

from energytune.config import EngineConfig, FinetuneConfig
from energytune.data import TensorSplit
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.training import engine as engine_module
from energytune.training.engine import forward_of, place, training_forward
from energytune.training.features_extract import stream_features
from energytune.training.finetune import Finetuner
from energytune.training.sgd import Sgd

CPU = torch.device("cpu")
BF16 = EngineConfig(precision="bf16")


@pytest.fixture
def tune(train, valid, task, finetune_config, make_model):
    def make(engine: EngineConfig | None = None, **changes) -> Finetuner:
        config = finetune_config.model_copy(update=changes)
        more = {} if engine is None else {"engine": engine}
        return Finetuner(
            make_model(), train, valid, task, config, ft_lr=0.02, seed=0, device=CPU, **more
        )

    return make


def test_the_default_engine_is_none_at_all(tune, same_tensors) -> None:
    plain, named = tune(), tune(EngineConfig())
    assert list(plain) == list(named)
    assert same_tensors(plain.model.state_dict(), named.model.state_dict())


# bfloat16


def test_bf16_computes_in_bf16_and_keeps_weights_and_results_in_float32(tune) -> None:
    tuner = tune(BF16, epochs=20)
    seen: set[torch.dtype] = set()
    hook = tuner.model.head.register_forward_hook(lambda m, i, out: seen.add(out.dtype))
    records = list(tuner)
    hook.remove()
    assert seen == {torch.bfloat16}
    state = tuner.state()
    for part in ("model", "momentum"):
        assert {t.dtype for t in state[part].values()} == {torch.float32}
    assert records[-1].train_acc == 1.0
    plain = list(tune(epochs=20))
    assert records != plain
    assert records[0].train_loss == pytest.approx(plain[0].train_loss, rel=0.02)


def test_bf16_gives_other_features_of_the_same_dtype(make_model, train) -> None:
    plain, lowered = (
        torch.cat(
            list(stream_features(make_model(), train, batch_size=8, device=CPU, engine=engine))
        )
        for engine in (EngineConfig(), BF16)
    )
    assert plain.dtype == lowered.dtype == torch.float32
    assert not torch.equal(plain, lowered)
    torch.testing.assert_close(plain, lowered, rtol=0.05, atol=0.02)
    assert torch.equal(lowered, lowered.bfloat16().float())


def test_autocast_ends_with_the_forward() -> None:
    forward = forward_of(nn.Linear(4, 2), BF16, CPU)
    assert forward(torch.zeros(3, 4)).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


# channels last


class Maps(nn.Module):
    """A convolution of 1 x 1, one of 3 x 3, and what the inputs looked like."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.layouts: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        out: torch.Tensor = self.second(self.first(x).relu()).mean(dim=(2, 3))
        return out


def image_tuner(task, engine: EngineConfig) -> Finetuner:
    torch.manual_seed(0)
    network = Maps()
    model = TaskModel(network, nn.Linear(8, 3), cut=NoTail(network), spec={})
    generator = torch.Generator().manual_seed(1)
    split = TensorSplit(torch.randn(20, 3, 6, 6, generator=generator), torch.arange(20) % 3)
    config = FinetuneConfig(epochs=4, batch_size=8, patience=None)
    return Finetuner(
        model, split, split, task, config, ft_lr=0.1, seed=0, device=CPU, engine=engine
    )


def test_channels_last_is_the_same_finetune_up_to_rounding(task) -> None:
    plain = image_tuner(task, EngineConfig())
    last = image_tuner(task, EngineConfig(channels_last=True))
    for ours, theirs in zip(list(last), list(plain), strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-4)
    assert all(last.model.backbone.layouts[:3])
    assert not any(plain.model.backbone.layouts)
    state = last.state()
    assert state["momentum"]["backbone.first.weight"].stride()[1] == 1
    last.load_best()
    assert last.model.backbone.first.weight.stride()[1] == 1


def test_a_state_goes_from_one_layout_to_the_other(task) -> None:
    last = image_tuner(task, EngineConfig(channels_last=True))
    next(iter(last))
    plain = image_tuner(task, EngineConfig())
    plain.load_state(last.state())
    for ours, theirs in zip(list(plain), list(last), strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)


def test_the_optimizer_reads_a_gradient_of_another_layout_right() -> None:
    """The fused kernel of torch goes through memory, and does not look at strides."""
    gradient = torch.randn(4, 3, 2, 2)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.zeros(4, 3, 2, 2).contiguous(memory_format=layout))
        optimizer = Sgd([("w", weight)], momentum=0.9, weight_decay=0.0)
        optimizer.apply([gradient.clone()], 1.0)
        moved.append(weight.detach())
    torch.testing.assert_close(moved[0], -gradient)
    torch.testing.assert_close(moved[1], -gradient)


def test_a_batch_on_the_cpu_is_not_copied() -> None:
    inputs, targets = torch.zeros(2, 3, 4, 4), torch.zeros(2)
    placed = place(inputs, targets, CPU, EngineConfig())
    assert placed[0] is inputs
    assert placed[1] is targets


# compiled


def test_only_the_training_forward_is_compiled(tune, same_tensors, monkeypatch) -> None:
    """With torch's own tracer and no code generation, which takes a compiler and a minute."""
    monkeypatch.setattr(engine_module, "_COMPILER", "eager")
    plain, compiled = tune(), tune(EngineConfig(compile=True))
    names = list(compiled.model.state_dict())
    assert list(compiled) == list(plain)
    assert list(compiled.model.state_dict()) == names == list(plain.model.state_dict())
    assert same_tensors(compiled.state()["model"], plain.state()["model"])


def test_a_network_that_can_not_be_compiled_fails_with_what_to_do(monkeypatch) -> None:
    def broken(graph, inputs):
        raise RuntimeError("there is no C++ compiler")

    monkeypatch.setattr(engine_module, "_COMPILER", broken)
    forward = training_forward(nn.Linear(3, 2), EngineConfig(compile=True), CPU)
    with pytest.raises(TrialFailure, match="search without --compile"):
        forward(torch.zeros(2, 3))


def test_memory_that_runs_out_in_compiled_code_is_seen_as_such(monkeypatch) -> None:
    class Full(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return full(x)

    @torch.compiler.disable
    def full(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(engine_module, "_COMPILER", "eager")
    forward = training_forward(Full(), EngineConfig(compile=True), CPU)
    with pytest.raises(torch.OutOfMemoryError):
        forward(torch.zeros(2, 3))
