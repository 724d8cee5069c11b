"""Opens MLflow clients, quietly and with short patience, and names what went wrong.

The only module through which the others get a client; ``mlflow`` is imported when one is opened
(about 2 s of CPU), not before.
"""

from __future__ import annotations

import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.errors import TrackingError
from energytune.tracking.store import prepare_sqlite, redact, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ensure_experiment", "global_uri", "open_client", "tracking_errors"]

_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's defaults block a call for up to four minutes, which the journal makes needless; and
they print links and progress bars across the display. What the user has set stays as it is."""
_NOISY = (
    "alembic",
    "mlflow.store.db.utils",
    "mlflow.store.model_registry",
    "urllib3.connectionpool",
)


def open_client(uri: str) -> MlflowClient:
    """Returns a client of a tracking server or database that answers.

    Args:
        uri: ``sqlite:///...``, ``http(s)://...`` or a database URL.

    Raises:
        TrackingError: Nothing answers there.
    """
    _check_answers(uri)
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)
    path = sqlite_path(uri)
    if path is not None:
        with tracking_errors(uri):
            prepare_sqlite(path)
    from mlflow import MlflowClient

    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with tracking_errors(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turns whatever MLflow and its transports raise into a :class:`TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as failure:  # MlflowException, requests, sqlalchemy, sqlite3, OSError, ...
        first = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        first = re.sub(r"://[^/@\s]+@", "://***@", first)[:300]
        raise TrackingError(
            f"MLflow at {redact(uri)} failed: {type(failure).__name__}: {first}. Nothing is lost: "
            "the journal is on disk; `energytune sync` sends it later."
        ) from failure


@contextmanager
def global_uri(uri: str) -> Iterator[None]:
    """Lends MLflow's process-wide tracking URI for a call that ignores that of its client.

    In 3.17 a registry in a database looks up ``models:/`` sources there.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None  # type: ignore[no-untyped-call]
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def ensure_experiment(client: MlflowClient, name: str, artifact_root: Path | None) -> str:
    """Returns the id of an experiment, creating it if need be.

    Args:
        client: An open client.
        name: The experiment's name.
        artifact_root: Folder for artifacts where the client writes them itself; None leaves the
            place to the server. Without it MLflow would use ``./mlruns`` of the current folder.

    Raises:
        TrackingError: The experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifact_root is None else str(artifact_root.absolute() / name)
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # somebody else was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment {name!r} was deleted. Restore it with `mlflow experiments "
            f"restore --experiment-id {found.experiment_id}`, then run `energytune sync`."
        )
    return str(found.experiment_id)


def _check_answers(uri: str) -> None:
    """Asks an HTTP server for a sign of life, so that a dead one costs 3 s and no import."""
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{redact(uri, drop=True).rstrip('/')}/health", timeout=3).close()
    except urllib.error.HTTPError:
        return  # it speaks HTTP; whether it is MLflow, the first call tells
    except (OSError, ValueError) as failure:
        raise TrackingError(
            f"The tracking server {redact(uri)} can't be reached ({failure}). Start it, or name "
            "another one with --tracking-uri; `energytune sync` sends what is in the journal."
        ) from failure
