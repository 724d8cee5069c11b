"""The data of a bench: a named dataset, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from energytune.config import InputConfig
from energytune.data import Splits, ensure_dataset, load_dataset
from energytune.errors import ConfigError, MissingDataError
from energytune.models import Backbone
from energytune.progress import Progress

__all__ = ["UserData", "check_inputs", "fetch_dataset", "load_splits"]


@dataclass(frozen=True)
class UserData:
    """A user's own datasets, map-style with items (image, class index).

    Attributes:
        train: Training set.
        valid: Validation set; None cuts a stable 20 % from train.
        test: Test set; read once, for the winner.
    """

    train: Any
    valid: Any
    test: Any


def fetch_dataset(
    name: str, data_root: Path | None, *, weights_of: str | None, progress: Progress
) -> None:
    """Downloads a named dataset if need be; where that fails, tells about the weights as well.

    Args:
        name: Of the dataset.
        data_root: Folder under which image datasets lie; None is the user's data folder.
        weights_of: Backbone whose weights have to be fetched next; None if there are none to fetch.
        progress: Told about the download.

    Raises:
        EnergyTuneError: There is no such dataset, or it is not there and can't be downloaded.
    """
    try:
        ensure_dataset(name, data_root, progress=progress)
    except MissingDataError as error:
        if weights_of is None:
            raise
        raise MissingDataError(
            f"{error}\nThe weights of {weights_of} are needed next: they are downloaded, or "
            "read from --checkpoint FILE; --weights none does without."
        ) from error


def check_inputs(backbone: Backbone, splits: Splits) -> None:
    """Checks that a backbone takes a dataset's inputs, by running it on one of them.

    Raises:
        ConfigError: If it does not.
    """
    inputs, _ = next(iter(splits.valid.batches(1)))
    expected = tuple(backbone.input_shape)
    try:
        if inputs.ndim != 1 + len(expected):
            raise ValueError(f"it takes {expected}")
        with torch.no_grad():
            backbone.module(inputs)
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as failure:
        reason = str(failure).splitlines()[0]
        raise ConfigError(
            f"Backbone {backbone.name!r} does not take the inputs of dataset {splits.name!r}, of "
            f"shape {tuple(inputs.shape[1:])}: {reason}. Choose another --backbone; "
            "energytune datasets shows each dataset's own."
        ) from failure


def load_splits(
    name: str,
    user_data: UserData | None,
    *,
    data_root: Path | None,
    input_config: InputConfig | None,
    loader_workers: int | None,
    progress: Progress,
) -> Splits:
    """Loads a named dataset, or splits a user's own.

    Args:
        name: Of the dataset, or a label for ``user_data``.
        user_data: A user's own datasets instead of a named one.
        data_root: Folder under which image datasets lie; None is the user's data folder.
        input_config: What the backbone expects of images; None is the loader's own default.
        loader_workers: Processes that load images; None chooses.
        progress: Told about downloads and passes over the data.

    Raises:
        EnergyTuneError: Whatever is wrong with the data.
    """
    if user_data is None:
        return load_dataset(
            name,
            data_root=data_root,
            input_config=input_config,
            loader_workers=loader_workers,
            progress=progress,
        )
    from energytune.data import splits_from_datasets

    return splits_from_datasets(
        user_data.train,
        user_data.valid,
        user_data.test,
        name=name,
        input_config=input_config,
        loader_workers=loader_workers,
        progress=progress,
    )
