from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from energytune.config import pretrain_settings
from energytune.data import load_dataset
from energytune.errors import ConfigError
from energytune.models import create_backbone
from energytune.training.pretrain_run import PretrainRun


@pytest.fixture(scope="module")
def splits():
    return load_dataset("digits-same")


def settings(**changes):
    values = {"epochs": 6, "lr": 0.05, "batch_size": 32, "weight_decay": 0.0, **changes}
    return pretrain_settings(dataset="digits-same", backbone="digits-mlp", **values)


def run_of(splits, path: Path, **changes) -> PretrainRun:
    wanted = settings(**changes)
    return PretrainRun(
        wanted,
        splits,
        create_backbone("digits-mlp", weights="none", seed=wanted.seed),
        state_path=path,
        identity=wanted.identity(),
        device=torch.device("cpu"),
    )


def tensors_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_run_that_was_stopped_ends_with_the_same_weights(splits, tmp_path, stop_after, keep):
    whole = run_of(splits, tmp_path / "whole", keep=keep)
    curve = list(whole)
    stopped = run_of(splits, tmp_path / "state", keep=keep)
    stopped._save_state()
    for epoch in stopped:
        stopped._save_state()
        if epoch.epoch == stop_after:
            break
    again = run_of(splits, tmp_path / "state", keep=keep)
    assert again.n_resumed == stop_after
    assert [e.epoch for e in again] == list(range(stop_after + 1, 7))
    assert again.epochs == curve
    assert again.best == whole.best
    assert tensors_equal(again.weights(), whole.weights())


def test_best_and_last_keep_their_own_epoch(splits, tmp_path):
    runs = {
        keep: run_of(splits, tmp_path / keep, keep=keep, epochs=12) for keep in ("best", "last")
    }
    for run in runs.values():
        list(run)
    best = max(runs["best"].epochs, key=lambda e: (e.valid_acc, -e.valid_loss))
    assert runs["best"].best == best
    same = best.epoch == 12
    assert tensors_equal(runs["best"].weights(), runs["last"].weights()) == same


def test_the_state_goes_when_the_weights_are_written(splits, tmp_path):
    run = run_of(splits, tmp_path / "state", epochs=1)
    list(run)
    assert (tmp_path / "state").exists()
    run.write_weights(tmp_path / "out.safetensors", {"backbone": "digits-mlp"})
    assert not (tmp_path / "state").exists()
    assert tensors_equal(load_file(tmp_path / "out.safetensors"), run.weights())


def test_another_pretraining_is_not_continued(splits, tmp_path):
    list(run_of(splits, tmp_path / "state", epochs=1))
    with pytest.raises(ConfigError, match=r"another pretraining: lr is 0.05, not 0.1"):
        run_of(splits, tmp_path / "state", epochs=1, lr=0.1)


def test_a_damaged_state_begins_anew(splits, tmp_path):
    (tmp_path / "state").write_bytes(b"no state")
    assert run_of(splits, tmp_path / "state", epochs=1).n_resumed == 0
