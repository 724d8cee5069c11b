"""One finetune by several processes, which talk by gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from energytune.config import EngineConfig, FinetuneConfig
from energytune.errors import ConfigError, TrialFailure
from energytune.training import micro_batch
from energytune.training.finetune import Finetuner
from tests.training.team_parts import CPU, Watched, clusters, helper_pids, make_tuner

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _own_memory_and_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(micro_batch, "_known", {})
    yield
    assert helper_pids(os.getpid()) == []
    assert not dist.is_initialized()


def alike(ours, whole) -> None:
    assert len(ours) == len(whole)
    for mine, theirs in zip(ours, whole, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-5)
        assert (mine.epoch, mine.train_acc) == (theirs.epoch, theirs.train_acc)
        assert mine.valid_acc == theirs.valid_acc


def test_two_processes_give_the_finetune_of_one_stopped_and_resumed_too() -> None:
    alone = make_tuner(Watched(), 1)
    expected = list(alone)
    stopped = make_tuner(Watched(), 2)
    iterator = iter(stopped)
    records = list(islice(iterator, 2))
    assert len(helper_pids(os.getpid())) == 1
    state = stopped.state()
    iterator.close()  # a trial is pruned so
    assert helper_pids(os.getpid()) == []
    resumed = make_tuner(Watched(), 2)
    resumed.load_state(state)
    records += list(resumed)
    alike(records, expected)
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=1e-5)
    assert resumed.best is not None
    assert max(resumed.model.backbone.asked) == 4  # half of a batch each


@pytest.mark.parametrize("in_helper", [True, False])
def test_without_room_for_a_share_the_epoch_is_trained_again(in_helper: bool) -> None:
    expected = list(make_tuner(Watched(), 1))
    cramped = make_tuner(Watched(room=3, in_helper=in_helper), 2)
    alike(list(cramped), expected)
    assert cramped._trainer._micro.size == 2
    assert make_tuner(Watched(), 2)._trainer._micro.size == 2  # the next trial begins with it


def test_a_helper_that_is_killed_fails_the_trial_with_the_reason() -> None:
    tuner = make_tuner(Watched(end="kill"), 2)
    with pytest.raises(TrialFailure, match=r"helper process 1 .* was killed by signal 9"):
        list(tuner)


def test_what_fails_in_a_helper_is_told() -> None:
    tuner = make_tuner(Watched(end="raise"), 2)
    with pytest.raises(TrialFailure, match="ValueError: the network has had enough"):
        list(tuner)


def test_an_owner_that_is_killed_leaves_no_helper(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.training.team_parts", str(told)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 240
        while not (told.exists() and told.read_text()):
            assert owner.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        helper = psutil.Process(int(told.read_text()))
    finally:
        owner.kill()
        owner.wait()
    helper.wait(timeout=240)


def test_a_module_that_can_not_be_sent_is_told() -> None:
    network = Watched()
    network.lock = __import__("threading").Lock()
    with pytest.raises(TrialFailure, match=r"can't be sent .* --gpus-per-trial 1"):
        list(make_tuner(network, 2))


def test_a_module_of_the_users_own_script_is_sent_as_it_is() -> None:
    class Own(nn.Module):
        """Of no module that another process could import."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x).relu()
            return out

    alike(list(make_tuner(Own(), 2, epochs=1)), list(make_tuner(Own(), 1, epochs=1)))


def test_a_batch_has_a_sample_for_each_process(make_model, task) -> None:
    split, config = clusters(29, seed=1), FinetuneConfig(batch_size=2)
    with pytest.raises(ConfigError, match="batch_size must be at least 3"):
        Finetuner(
            make_model(),
            split,
            split,
            task,
            config,
            ft_lr=0.1,
            seed=0,
            device=CPU,
            engine=EngineConfig(n_processes=3),
        )
