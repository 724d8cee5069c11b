"""Loads registered models for use: the champion of a dataset, or one version."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.data import absolute_name
from energytune.errors import (
    EnergyTuneError,
    OutputError,
    TrackingError,
    UnknownNameError,
    unknown_name,
)
from energytune.redact import redact
from energytune.serving import Predictor, open_folder
from energytune.tracking.client import global_uri, open_client
from energytune.tracking.drain import last_uri
from energytune.tracking.names import experiment_name
from energytune.tracking.store import default_uri, journal_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["find_uri", "load_champion"]

_RUNS_DIR = Path("energytune-runs")
_STORE = "mlflow.db"
_ALIAS = "champion"
_PREFIX = "energytune-"


def load_champion(
    dataset: str,
    *,
    version: int | None = None,
    tracking_uri: str | None = None,
    runs: Path | str | None = None,
    device: str | None = None,
) -> Predictor:
    """Loads the champion of a dataset, ready to predict from raw inputs.

        champion = energytune.load_champion("stl10")
        champion.predict(["cat.jpg", "ship.png"], top_k=3)

    Args:
        dataset: The dataset's name, or that of a registered model, ``"energytune-..."``.
        version: A version of the registered model; None is the champion.
        tracking_uri: MLflow server or database; None looks for it as :func:`find_uri` says.
        runs: Folder of a search, or of several.
        device: ``"cpu"``, ``"cuda"``, ...; None takes a GPU if there is one.

    Raises:
        UnknownNameError: No such model, version or champion is registered.
        OutputError: There is no store to look in.
        TrackingError: MLflow can't be reached.
        CheckpointError: The model's files are damaged, or not of energytune's making.
        ResourceError: There is no such device.
    """
    uri = find_uri(tracking_uri, runs)
    client = open_client(uri)
    with _reading(uri):
        name = _model_name(client, dataset, uri)
        version = _champion(client, name) if version is None else _existing(client, name, version)
    with tempfile.TemporaryDirectory() as scratch:
        with _reading(uri), global_uri(uri):
            from mlflow.artifacts import download_artifacts

            folder = download_artifacts(
                artifact_uri=f"models:/{name}/{version}", dst_path=scratch, tracking_uri=uri
            )
        return open_folder(Path(folder), device=device, name=name, version=version)


def find_uri(tracking_uri: str | None = None, runs: Path | str | None = None) -> str:
    """Returns the store whose registry is meant.

    The first of: ``tracking_uri``; the store of the folder ``runs``; ``$MLFLOW_TRACKING_URI``; the
    store in ``energytune-runs``. A search folder's store is the one that the search was sent to.

    Args:
        tracking_uri: MLflow server or database.
        runs: Folder of a search, or of several.

    Raises:
        OutputError: There is no search in the folder.
    """
    if tracking_uri:
        return tracking_uri
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if runs is None and named:
        return named
    folder = Path(runs or _RUNS_DIR).absolute()
    journal = journal_path(folder)
    if journal.is_file():
        shared = (folder.parent / _STORE).is_file()
        return last_uri(journal) or default_uri(folder.parent if shared else folder)
    if (folder / _STORE).is_file():
        return default_uri(folder)
    inside = sorted(folder.glob(f"*/{journal.name}"), key=lambda path: path.stat().st_mtime)
    for newest in reversed(inside):
        if sent_to := last_uri(newest):
            return sent_to
    state = "holds no search" if folder.is_dir() else "is no folder"
    raise OutputError(
        f"{folder} {state}, so there is no registry to look in. Name the folder of a search with "
        "--runs, or a server with --tracking-uri or MLFLOW_TRACKING_URI."
    )


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turns what MLflow raises into a TrackingError; errors for the user pass."""
    try:
        yield
    except EnergyTuneError:
        raise
    except Exception as failure:  # MlflowException, requests, sqlalchemy, OSError, ...
        first = (str(failure).strip() or type(failure).__name__).splitlines()[0][:300]
        raise TrackingError(
            f"The registry {redact(uri)} can't be read: {type(failure).__name__}: "
            f"{redact(first, uri)}"
        ) from failure


def _model_name(client: MlflowClient, dataset: str, uri: str) -> str:
    """Returns the name of the registered model.

    Raises:
        UnknownNameError: There is none; tells near names.
    """
    known: list[str] = []
    token: str | None = None
    while True:
        page = client.search_registered_models(max_results=500, page_token=token)
        known += [model.name for model in page]
        token = page.token
        if not token:
            break
    for candidate in _candidates(dataset):
        if candidate in known:
            return candidate
    ours = [name.removeprefix(_PREFIX) for name in known if name.startswith(_PREFIX)]
    if not ours:
        raise UnknownNameError(
            f"No model is registered in {redact(uri)}. Run a search first: `energytune search "
            f"--dataset {dataset}`; or name another store with --tracking-uri or --runs."
        )
    hint = f"Registry: {redact(uri)}."
    raise unknown_name("registered model", dataset, ours, hint)


def _candidates(dataset: str) -> list[str]:
    names = [dataset] if dataset.startswith(_PREFIX) else []
    with suppress(EnergyTuneError):  # its folder is gone, or only the model has that name
        names.append(experiment_name(absolute_name(dataset)))
    return [*names, experiment_name(dataset)]


def _champion(client: MlflowClient, name: str) -> int:
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_model_version_by_alias(name, _ALIAS).version)
    except MlflowException as failure:
        if failure.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    raise UnknownNameError(
        f"{name} has no champion: the alias is not set. It has {_told(_versions(client, name))}; "
        "choose one with --version."
    )


def _existing(client: MlflowClient, name: str, version: int) -> int:
    known = _versions(client, name)
    if version in known:
        return version
    raise UnknownNameError(f"{name} has no version {version}. It has {_told(known)}.")


def _versions(client: MlflowClient, name: str) -> list[int]:
    found = client.search_model_versions(f"name = '{name}'", max_results=200)
    return sorted(int(version.version) for version in found)


def _told(versions: list[int]) -> str:
    if not versions:
        return "no versions"
    shown = ", ".join(map(str, versions[-20:]))
    return f"version{'s' if len(versions) > 1 else ''} {shown}"
