"""``tune()`` on one's own data and network, and STL-10's real code path, through Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from energytune import tune
from energytune.config import SearchSpace
from energytune.errors import ConfigError, DataError, MissingDataError, UnknownNameError


class Blobs(Dataset[tuple[Tensor, int]]):
    """Two kinds of 6 x 6 images that differ in where they are bright."""

    def __init__(self, n_samples: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(n_samples) % 2
        self.images = torch.rand(n_samples, 1, 6, 6, generator=generator)
        self.images[self.targets == 0, :, :3] += 0.5

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])


class Net(nn.Module):
    """A user's own feature extractor."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def quick(**changes: object) -> SearchSpace:
    return SearchSpace.model_validate(
        {
            "tau": {"low": 0, "high": 8},
            "ft_lr": {"low": 0.01, "high": 0.1},
            "finetune": {"epochs": 3, "batch_size": 16},
            **changes,
        }
    )


@pytest.mark.integration
def test_own_data_and_own_module(ray_session: None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    result = tune(
        "blobs",
        train=Blobs(64, 1),
        valid=Blobs(40, 2),
        test=Blobs(60, 3),
        backbone=module,
        space=quick(),
        n_trials=3,
        n_confirm_seeds=2,
        gpus_per_trial=0,
        out=tmp_path / "run",
    )
    assert result.best_model()(torch.zeros(2, 1, 6, 6)).shape == (2, 2)
    test = result.best_confirmation.finished
    assert test is not None
    assert test.test is not None
    assert len(test.test.correct) == 60
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())


@pytest.mark.integration
def test_stl10_in_its_binary_format_with_a_timm_backbone(
    ray_session: None, stl10_root: Path, tmp_path: Path
) -> None:
    result = tune(
        "stl10",
        data_root=stl10_root,
        backbone="test_resnet",
        weights="none",
        space=quick(reinit_depth={"low": 0, "high": 1}),
        n_trials=3,
        n_confirm_seeds=1,
        gpus_per_trial=0,
        out=tmp_path / "run",
    )
    assert {r.state for r in result.records} <= {"COMPLETE", "PRUNED"}
    finished = result.best_confirmation.finished
    assert finished is not None
    assert finished.test is not None
    assert len(finished.test.correct) == 40
    assert result.registered is not None
    assert result.registered.name == "energytune-stl10"


def test_own_data_need_train_test_and_a_backbone() -> None:
    with pytest.raises(ConfigError, match="test must be given"):
        tune(train=Blobs(8, 1))
    with pytest.raises(ConfigError, match="train must be given"):
        tune(test=Blobs(8, 1))
    with pytest.raises(ConfigError, match="backbone must be given"):
        tune(train=Blobs(8, 1), test=Blobs(8, 2))


def test_names_that_do_not_exist_are_told_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown dataset 'digit'.*'digits'"):
        tune("digit")
    with pytest.raises(UnknownNameError, match="digits-mlp"):
        tune("digits", backbone="digits-mpl", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_out_of_range_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="n_trials"):
        tune("digits", n_trials=0)
    with pytest.raises(ConfigError, match="seed"):
        tune("digits", seed=-1)
    with pytest.raises(ConfigError, match="ft_epochs_budget = 0: must be >= 1"):
        tune("digits", ft_epochs_budget=0)
    with pytest.raises(ConfigError, match=r"until = 'converged'.*'energy'"):
        tune("digits", until="converged", sampler="random")
    with pytest.raises(ConfigError, match=r"warm_start = True.*'energy'"):
        tune("digits", warm_start=True, sampler="random")


def test_data_of_one_class_are_refused(tmp_path: Path) -> None:
    one = Blobs(20, 1)
    one.targets.zero_()
    with pytest.raises(DataError, match="class"):
        tune(train=one, valid=one, test=one, backbone=Net(), space=quick(), out=tmp_path / "r")


def test_missing_data_say_where_they_go(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="--data-root") as caught:
        tune("stl10", data_root=tmp_path, weights="none", out=tmp_path / "run")
    assert "--checkpoint" not in str(caught.value)
    with pytest.raises(MissingDataError, match=r"--data-root(.|\n)*--checkpoint.*--weights none"):
        tune("stl10", data_root=tmp_path, out=tmp_path / "run")
