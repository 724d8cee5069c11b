from __future__ import annotations

import pytest
import torch

from energytune.config import EngineConfig
from energytune.errors import ResourceError
from energytune.trial import first_batch
from energytune.trial.first_batch import check_first_batch, train_first_batch


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_first_batch_is_trained(make_spec, head, precision) -> None:
    bench = make_spec(engine=EngineConfig(precision=precision)).build()
    loss = train_first_batch(bench, head)
    assert 1.5 < loss < 4.0  # about ln 10: nothing is learnt yet


def test_on_the_cpu_nothing_is_measured(bench, monkeypatch) -> None:
    monkeypatch.setattr(first_batch, "train_first_batch", None)
    check_first_batch(bench, ("linear",), 0.25)


def on_a_gpu(bench, monkeypatch, *, peak: int, free: int) -> list[str]:
    """A bench whose device is told to be a GPU, which reserves ``peak`` bytes for each head."""
    trained: list[str] = []
    monkeypatch.setattr(bench, "device", torch.device("cuda"))
    for name, value in {
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "max_memory_reserved": peak,
        "mem_get_info": (free, 80 * 10**9),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *a, value=value: value)
    monkeypatch.setattr(first_batch, "train_first_batch", lambda b, head: trained.append(head))
    return trained


def test_trials_that_fit_together_are_let_through(bench, monkeypatch) -> None:
    trained = on_a_gpu(bench, monkeypatch, peak=10 * 10**9, free=70 * 10**9)
    check_first_batch(bench, ("linear", "mlp"), 0.25)
    assert trained == ["linear", "mlp"]


def test_trials_that_do_not_are_refused_before_the_search(bench, monkeypatch) -> None:
    on_a_gpu(bench, monkeypatch, peak=25 * 10**9, free=70 * 10**9)
    with pytest.raises(ResourceError, match=r"4 trials on one GPU.*--gpus-per-trial 0\.5 fits"):
        check_first_batch(bench, ("linear",), 0.25)


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0])
def test_a_trial_with_a_gpu_of_its_own_is_not_measured(bench, monkeypatch, share) -> None:
    trained = on_a_gpu(bench, monkeypatch, peak=99 * 10**9, free=1)
    check_first_batch(bench, ("linear",), share)
    assert trained == []
