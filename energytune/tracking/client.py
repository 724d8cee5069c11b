"""Opens MLflow clients, quietly and with short patience, and names what went wrong.

The only module through which the others get a client; ``mlflow`` is imported when one is opened
(about 2 s of CPU), not before.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.errors import TrackingError
from energytune.redact import redact, without_login
from energytune.tracking.store import prepare_sqlite, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["answers", "ensure_experiment", "global_uri", "open_client", "tracking_errors"]

_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's defaults block a call for up to four minutes, which the journal makes needless. Its
own repetition makes a second run where the answer to the first call was lost; the journal's looks
first. And they print links and progress bars across the display. What the user has set stays as
it is."""
_ADVICE = {
    "401": " Name a user of that server in MLFLOW_TRACKING_USERNAME and the password in "
    "MLFLOW_TRACKING_PASSWORD.",
    "403": " Ask the server's administrator for the permission EDIT on this experiment and model.",
}
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
        first = redact(first, uri)[:300]
        refused = re.search(r"error code (401|403)\b", first)
        advice = _ADVICE[refused[1]] if refused else ""
        told = f"failed: {type(failure).__name__}: {first.rstrip('.')}"
        if re.search(r"HTTPS?ConnectionPool", first):  # urllib3 tells all its objects
            slow = "timed out" in str(failure).lower()
            told = "did not answer in time" if slow else "was there and can't be reached any more"
        raise TrackingError(
            f"MLflow at {redact(uri)} {told}.{advice} Nothing is lost: the journal is on disk; "
            "`energytune sync` sends it later."
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


def answers(uri: str, timeout_s: float) -> bool:
    """Returns whether a store gives a sign of life in time; one without a network always does.

    Asks an MLflow server something for which it needs its database: ``/health`` is answered
    also while that is gone. A refusal (401, 403) is an answer. MLflow is not imported for it.

    Args:
        uri: Tracking server or database.
        timeout_s: How long to wait, seconds.
    """
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return not parts.hostname or _accepts(parts, timeout_s)
    question = urllib.request.Request(
        f"{without_login(uri).rstrip('/')}/api/2.0/mlflow/experiments/search",
        b'{"max_results": 1}',
        {"Content-Type": "application/json", **_authorization()},
    )
    try:
        urllib.request.urlopen(question, timeout=timeout_s).close()
    except urllib.error.HTTPError as refusal:
        return refusal.code < 500
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def _authorization() -> dict[str, str]:
    """Returns the header by which MLflow's clients say who they are; a search imports none."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{n}") for n in ("USERNAME", "PASSWORD"))
    if not user:
        return {}
    pair = b64encode(f"{user}:{password or ''}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _accepts(parts: urllib.parse.SplitResult, timeout_s: float) -> bool:
    try:
        port = parts.port or {"postgresql": 5432, "mysql": 3306}.get(parts.scheme.split("+")[0])
        if port is None:
            return True
        socket.create_connection((parts.hostname or "", port), timeout_s).close()
    except (OSError, ValueError):
        return False
    return True


def _ask_health(uri: str, timeout_s: float) -> None:
    """Asks an HTTP server for a sign of life; anything that speaks HTTP has one."""
    try:
        address = f"{without_login(uri).rstrip('/')}/health"
        urllib.request.urlopen(address, timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return  # whether it is MLflow, the first call tells
    except http.client.HTTPException as failure:
        raise OSError(str(failure) or type(failure).__name__) from failure


def _check_answers(uri: str) -> None:
    """Makes sure that a dead server costs 3 s and no import."""
    if not uri.startswith(("http://", "https://")):
        return
    try:
        _ask_health(uri, 3)
    except (OSError, ValueError) as failure:
        raise TrackingError(
            f"The tracking server {redact(uri)} can't be reached ({redact(str(failure), uri)}). "
            "Start it, or name "
            "another one with --tracking-uri; `energytune sync` sends what is in the journal."
        ) from failure
