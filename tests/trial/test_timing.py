"""Timing a bench gives seconds and leaves nothing behind."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from energytune.config import load_space
from energytune.training.finetune import Finetuner
from energytune.trial.timing import Timing, time_bench


def files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_it_is_timed_and_nothing_is_changed(make_spec, tmp_path: Path) -> None:
    bench = make_spec().build()
    bench.prepare([0])
    before, random = files(tmp_path), torch.random.get_rng_state()
    timing = time_bench(bench, load_space("default"))
    assert timing.hp_epoch_s > 0
    assert timing.ft_epoch_s > 0
    assert timing.weights_bytes == bench.weights_bytes(load_space("default")) > 100_000
    assert timing.state_bytes == 3 * timing.weights_bytes
    assert files(tmp_path) == before
    assert torch.equal(torch.random.get_rng_state(), random)


def test_of_long_epochs_a_part_is_run_and_the_rest_is_in_proportion(
    make_spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    seen: list[int] = []
    train = Finetuner._train_one_epoch

    def counting(self):
        given = train(self)
        seen.append(self._train._n_given)
        return given

    monkeypatch.setattr(Finetuner, "_train_one_epoch", counting)
    bench = make_spec().build()
    # each look at the clock is a second later: one batch of 32 takes 1 s, which is the limit
    timing = time_bench(bench, load_space("default"), clock=lambda: float(next(ticks)))
    assert seen == [32, 32]
    n_train, n_valid = len(bench.splits.train), len(bench.splits.valid)
    assert timing == Timing(1.0, n_train / 32 + n_valid / min(1024, n_valid), timing.weights_bytes)
