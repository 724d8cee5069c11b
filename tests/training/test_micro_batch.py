from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import EngineConfig
from energytune.errors import TrialFailure
from energytune.paths import cache_dir
from energytune.training import micro_batch
from energytune.training.micro_batch import (
    MICRO_BATCHES,
    MicroBatch,
    PiecewiseForward,
    is_out_of_memory,
    memory_shape,
    pieces,
)

CPU = torch.device("cpu")
SHAPE = {"backbone": "resnet50", "head_arch": "linear"}


@pytest.fixture(autouse=True)
def _own_memory(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(micro_batch, "_known", {})


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_for_want_of_memory_are_told_from_others(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


def test_an_error_of_the_allocator_itself() -> None:
    """What this machine's torch really says."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@given(st.integers(1, 300), st.integers(1, 300))
def test_pieces_are_all_of_the_batch_and_as_equal_as_can_be(n_samples: int, size: int) -> None:
    parts = pieces(n_samples, size)
    assert sum(parts) == n_samples
    assert max(parts) - min(parts) <= 1
    assert max(parts) <= size or (size == 2 and max(parts) == 3)
    if size > 1 and n_samples > 1:
        assert min(parts) > 1  # batch normalisation needs two


def test_it_halves_three_times_and_then_fails_with_advice() -> None:
    micro = MicroBatch(SHAPE, 100)
    sizes = []
    for _ in range(3):
        micro.halve(CPU, "CUDA out of memory. Tried to allocate 20 MiB.\nmore")
        sizes.append(micro.size)
    assert sizes == [50, 25, 13]
    with pytest.raises(TrialFailure) as caught:
        micro.halve(CPU, "CUDA out of memory. Tried to allocate 20 MiB.\nmore")
    told = str(caught.value)
    assert "with 13 of a batch's 100 samples at once, after 3 halvings" in told
    assert "Tried to allocate 20 MiB." in told
    assert "more\n" not in told
    for advice in ("batch_size", "--image-size", "--precision bf16", "--gpus-per-trial"):
        assert advice in told


def test_a_single_sample_is_not_halved() -> None:
    micro = MicroBatch(SHAPE, 2)
    micro.halve(CPU, "no")
    with pytest.raises(TrialFailure, match="with 1 of a batch's 2 samples"):
        micro.halve(CPU, "no")


def test_what_fitted_is_remembered_for_the_shape_and_for_it_alone() -> None:
    MicroBatch(SHAPE, 64).halve(CPU, "no")
    again = MicroBatch(SHAPE, 64)
    assert (again.size, again.n_halvings) == (32, 1)
    assert MicroBatch({**SHAPE, "head_arch": "mlp"}, 64).size == 64
    assert MicroBatch(SHAPE, 128).size == 128
    again.halve(CPU, "no")
    assert MicroBatch(SHAPE, 64).size == 16


def test_another_process_knows_it_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    MicroBatch(SHAPE, 64).halve(CPU, "no")
    monkeypatch.setattr(micro_batch, "_known", {})
    assert MicroBatch(SHAPE, 64).size == 32
    (file,) = (cache_dir() / MICRO_BATCHES).iterdir()
    assert json.loads(file.read_text())["shape"]["backbone"] == "resnet50"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"n_samples": "8"}', '{"n_samples": 0}'])
def test_a_damaged_note_counts_as_none(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MicroBatch(SHAPE, 64).halve(CPU, "no")
    (file,) = (cache_dir() / MICRO_BATCHES).iterdir()
    file.write_text(damage)
    assert MicroBatch(SHAPE, 64).size == 32  # this process still knows
    monkeypatch.setattr(micro_batch, "_known", {})
    assert MicroBatch(SHAPE, 64).size == 64


def test_a_cache_that_can_not_be_written_keeps_nobody(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "file"))
    MicroBatch(SHAPE, 64).halve(CPU, "no")
    assert MicroBatch(SHAPE, 64).size == 32


def test_the_shape_is_of_network_input_device_and_engine() -> None:
    plain = memory_shape({"backbone": "x"}, (3, 8, 8), CPU, EngineConfig())
    assert plain == memory_shape({"backbone": "x"}, (3, 8, 8), CPU, EngineConfig())
    others = [
        memory_shape({"backbone": "y"}, (3, 8, 8), CPU, EngineConfig()),
        memory_shape({"backbone": "x"}, (3, 9, 8), CPU, EngineConfig()),
        memory_shape({"backbone": "x"}, (3, 8, 8), CPU, EngineConfig(precision="bf16")),
    ]
    assert all(other != plain for other in others)


def fits(n_samples: int, asked: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A forward on a device with room for so many samples."""

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        asked.append(len(inputs))
        if len(inputs) > n_samples:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return inputs * 2

    return forward


@pytest.mark.parametrize("room", [1, 3, 5, 16, 99])
def test_a_forward_is_halved_until_it_fits_and_stays_so(room: int) -> None:
    asked: list[int] = []
    forward = PiecewiseForward(fits(room, asked))
    inputs = torch.arange(34.0).view(17, 2)
    assert torch.equal(forward(inputs), inputs * 2)
    asked.clear()
    assert torch.equal(forward(inputs), inputs * 2)
    assert max(asked) <= room


def test_a_single_sample_that_does_not_fit_is_a_failure() -> None:
    with pytest.raises(TrialFailure, match="with a single sample at once: CUDA out of memory"):
        PiecewiseForward(fits(0, []))(torch.zeros(8, 2))


def test_other_errors_of_a_forward_are_its_own() -> None:
    def broken(inputs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        PiecewiseForward(broken)(torch.zeros(8, 2))
