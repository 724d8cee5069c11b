"""An energy map in a real MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest

from energytune.config import MapHead
from energytune.errors import TrackingError
from energytune.tracking import default_uri, log_energy_map
from energytune.tracking.client import open_client
from energytune.training import ProbeSnapshot
from energytune.trial.map_curve import MapCurve

pytestmark = pytest.mark.integration


def curve(smoothing: float, failure: str = "") -> MapCurve:
    shots = tuple(
        ProbeSnapshot(epoch, 0.1 + 0.1 * i, 1.0, 0.2, 1.5, 0.9 - 0.1 * i, 1.0 + i, 0.5 + i)
        for i, epoch in enumerate((0, 1, 2))
    )
    return MapCurve(MapHead(0, "linear", smoothing, 0.03, 0.0, 0), shots, failure=failure)


def test_a_map_is_a_run_with_a_nested_run_a_head(tmp_path: Path) -> None:
    uri = default_uri(tmp_path)
    file = tmp_path / "energy_map.json"
    file.write_text("{}")
    link = log_energy_map(
        uri,
        tmp_path,
        "digits",
        "abc123",
        name="energy map digits-mlp",
        params={"tau_max": 2, "backbone": "digits-mlp"},
        curves=[curve(0.0), curve(0.1, failure="diverged")],
        seconds=1.5,
        files=[file],
    )
    assert "abc123" in link
    assert "hp%2Faie" in link
    client = open_client(uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    heads = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert parent.data.params == {"tau_max": "2", "backbone": "digits-mlp"}
    assert parent.data.metrics["n_heads"] == 2
    assert [f.path for f in client.list_artifacts(parent.info.run_id)] == ["energy_map.json"]
    assert {run.data.params["label_smoothing"] for run in heads} == {"0.0", "0.1"}
    assert {run.info.status for run in heads} == {"FINISHED", "FAILED"}
    assert parent.info.status == "FINISHED"
    for run in heads:
        history = client.get_metric_history(run.info.run_id, "hp/aie")
        assert [(point.step, point.value) for point in sorted(history, key=lambda p: p.step)] == [
            (0, 0.9),
            (1, pytest.approx(0.8)),
            (2, pytest.approx(0.7)),
        ]
        assert run.data.metrics["hp/pull_norm"] == 2.5
    assert {run.data.tags["energytune.search"] for run in runs} == {"abc123"}


def test_a_dead_server_is_a_tracking_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="can't be reached"):
        log_energy_map(
            "http://127.0.0.1:9",
            tmp_path,
            "digits",
            "abc123",
            name="energy map",
            params={},
            curves=[],
            seconds=0.0,
        )
