"""The options that say which model is meant, shared by the commands that use one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energytune.errors import ConfigError

if TYPE_CHECKING:
    from energytune.serving import Predictor

__all__ = ["Dataset", "Device", "Runs", "TrackingUri", "Version", "find_model"]

Dataset = Annotated[
    str | None, typer.Option(help="Dataset whose champion is used: digits, stl10, ...")
]
Version = Annotated[
    int | None, typer.Option(help="Version of the registered model. Default: the champion.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(help="MLflow server or database. Default: MLFLOW_TRACKING_URI, or --runs."),
]
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder of a search, or of several. Default: energytune-runs."),
]


def find_model(
    dataset: str | None,
    *,
    model: Path | None = None,
    version: int | None = None,
    tracking_uri: str | None = None,
    runs: Path | None = None,
    device: str = "auto",
) -> Predictor:
    """Returns the model that is meant: a registered one, or an exported file.

    Raises:
        ConfigError: Neither or both are named.
        EnergyTuneError: The model can't be loaded.
    """
    if (dataset is None) == (model is None):
        raise ConfigError(
            "Name a model: the champion of a dataset with --dataset NAME, or a file of "
            "`energytune export --format safetensors` with --model FILE."
        )
    if model is not None:
        if version is not None:
            raise ConfigError("--version goes with --dataset: a file has no versions.")
        from energytune.serving import open_weights_file

        return open_weights_file(model, device=device)
    from energytune.tracking import load_champion

    return load_champion(
        str(dataset), version=version, tracking_uri=tracking_uri, runs=runs, device=device
    )
