"""An energy map in MLflow: one run for the map, and one nested run a head."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.tracking.client import ensure_experiment, open_client, tracking_errors
from energytune.tracking.curves import snapshot_points
from energytune.tracking.links import deep_link
from energytune.tracking.names import SEARCH_TAG, UID_TAG, experiment_name
from energytune.tracking.runs import MAX_BATCH
from energytune.tracking.store import artifact_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from energytune.trial.map_curve import MapCurve

__all__ = ["log_energy_map"]

KIND_TAG = "energytune.kind"
"""Tells the runs of an energy map from those of a search."""
_ORDER = "metrics.`hp/aie`"


def log_energy_map(
    uri: str,
    home: Path,
    dataset: str,
    map_id: str,
    *,
    name: str,
    params: Mapping[str, Any],
    curves: Sequence[MapCurve],
    seconds: float,
    files: Sequence[Path] = (),
) -> str:
    """Logs a map and returns the address that shows its curves.

    Each head is a nested run with the metrics ``hp/...`` by probing epoch, so that MLflow draws
    energy and accuracy of all heads over tau in one chart.

    Args:
        uri: Tracking server or database.
        home: Folder for artifacts where no server decides.
        dataset: Name of the dataset; the experiment is that of its searches.
        map_id: Unique; the runs carry it as a tag.
        name: Name of the map's run.
        params: Of the map as a whole.
        curves: Its heads.
        seconds: How long probing took.
        files: Artifacts of the map's run.

    Raises:
        TrackingError: MLflow can't be reached or refuses.
    """
    client = open_client(uri)
    end_ms = time.time_ns() // 1_000_000
    start_ms = end_ms - round(1000 * seconds)
    with tracking_errors(uri):
        experiment = ensure_experiment(client, experiment_name(dataset), artifact_root(uri, home))
        tags = {SEARCH_TAG: map_id, UID_TAG: map_id, KIND_TAG: "energy map"}
        parent = str(client.create_run(experiment, start_ms, tags, name).info.run_id)
        _log(client, parent, params, [("n_heads", float(len(curves)), end_ms, 0)])
        for path in files:
            client.log_artifact(parent, str(path))
        for number, curve in enumerate(curves):
            tags = {
                SEARCH_TAG: map_id,
                UID_TAG: f"{map_id}-h{number:03d}",
                KIND_TAG: "head of an energy map",
                "mlflow.parentRunId": parent,
            }
            if curve.failure:
                tags["failure"] = curve.failure
            run = client.create_run(experiment, start_ms, tags, curve.head.label()).info.run_id
            points = snapshot_points(curve.snapshots, end_ms, seconds)
            _log(client, run, asdict(curve.head), points)
            client.set_terminated(run, "FAILED" if curve.failure else "FINISHED", end_ms)
        client.set_terminated(parent, "FINISHED", end_ms)
    return deep_link(uri, experiment, map_id, order_by=_ORDER)


def _log(
    client: MlflowClient,
    run_id: str,
    params: Mapping[str, Any],
    points: Sequence[tuple[str, float, int, int]],
) -> None:
    from mlflow.entities import Metric, Param

    named = [Param(key, str(value)) for key, value in params.items()]
    for chunk in _chunks([Metric(*point) for point in points]):
        client.log_batch(run_id, chunk, named, [])
        named = []
    if named:
        client.log_batch(run_id, [], named, [])


def _chunks(metrics: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(metrics), MAX_BATCH):
        yield metrics[first : first + MAX_BATCH]
