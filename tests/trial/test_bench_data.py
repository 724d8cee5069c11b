from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from energytune.errors import MissingDataError, UnknownNameError
from energytune.progress import NO_PROGRESS
from energytune.trial.bench_data import UserData, fetch_dataset, load_splits


def refuse(*args: object, **more: object) -> None:
    raise MissingDataError("stl10 is not here.")


@pytest.mark.parametrize("weights_of", ["resnet18", None])
def test_a_download_that_fails_tells_about_the_weights_if_they_are_next(
    monkeypatch: pytest.MonkeyPatch, weights_of: str | None
) -> None:
    monkeypatch.setattr("energytune.trial.bench_data.ensure_dataset", refuse)
    with pytest.raises(MissingDataError) as told:
        fetch_dataset("stl10", None, weights_of=weights_of, progress=NO_PROGRESS)
    first, *more = str(told.value).splitlines()
    assert first == "stl10 is not here."
    assert [line.startswith("The weights of resnet18 are needed next") for line in more] == (
        [True] if weights_of else []
    )


def test_an_unknown_dataset_is_named() -> None:
    with pytest.raises(UnknownNameError, match="digts"):
        fetch_dataset("digts", None, weights_of=None, progress=NO_PROGRESS)


def load(name: str, user_data: UserData | None, root: Path):
    return load_splits(
        name,
        user_data,
        data_root=root,
        input_config=None,
        loader_workers=0,
        progress=NO_PROGRESS,
    )


def test_a_named_dataset_is_loaded(tmp_path: Path) -> None:
    splits = load("digits", None, tmp_path)
    assert (splits.name, len(splits.train.targets), len(splits.valid.targets)) == (
        *("digits", 100, 400),
    )


def test_a_user_s_own_data_keep_the_name_that_they_are_given(tmp_path: Path) -> None:
    images = torch.arange(60.0).reshape(10, 1, 2, 3)
    own = TensorDataset(images, torch.arange(10) % 2)
    splits = load("mine", UserData(own, own, own), tmp_path)
    assert (splits.name, splits.task.n_outputs) == ("mine", 2)
    assert splits.train.targets.tolist() == [0, 1] * 5
