"""All that MLflow holds about a search, for comparisons, and whether it is what the search did."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

from energytune.search.result import TuneResult
from energytune.tracking.client import global_uri
from energytune.tracking.names import UID_TAG, experiment_name, trial_params
from energytune.trial import TrialRecord

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def picture(uri: str, dataset: str = "digits") -> dict[str, Any]:
    """Everything about the searches of a dataset: runs by uid, versions, artifacts by hash."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(experiment_name(dataset))
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id], max_results=5000))
    uids = {run.info.run_id: run.data.tags[UID_TAG] for run in runs}
    assert not [uid for uid, n in Counter(uids.values()).items() if n > 1], "a run is there twice"
    models = client.search_model_versions(f"name = '{experiment_name(dataset)}'")
    aliases = client.get_registered_model(experiment_name(dataset)).aliases
    logged = client.search_logged_models([experiment.experiment_id])
    return {
        "runs": {uids[run.info.run_id]: _run(client, run, uids, uri) for run in runs},
        "versions": {
            int(v.version): {
                "uid": v.tags.get(UID_TAG),
                "run": uids.get(v.run_id or ""),
                "tags": {k: t for k, t in v.tags.items() if k != "energytune.numbers"},
                "aliases": sorted(
                    a for a, number in aliases.items() if int(number) == int(v.version)
                ),
                "files": _files(uri, artifact_uri=f"models:/{v.name}/{v.version}"),
            }
            for v in models
        },
        "n_logged_models": len(list(logged)),
    }


def _run(client: MlflowClient, run: Run, uids: dict[str, str], uri: str) -> dict[str, Any]:
    points = [
        (m.key, m.step, m.value, m.timestamp)
        for key in run.data.metrics
        for m in client.get_metric_history(run.info.run_id, key)
    ]
    where = Counter((key, step) for key, step, *_ in points)
    assert not [at for at, n in where.items() if n > 1], "a point is there twice"
    tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
    info = run.info
    return {
        "info": (info.run_name, info.status, info.start_time, info.end_time),
        "parent": uids.get(run.data.tags.get("mlflow.parentRunId", "")),
        "params": dict(run.data.params),
        "tags": tags,
        "points": sorted(points),
        "files": _files(uri, run_id=info.run_id, artifact_path="") if _is_parent(run) else {},
    }


def _is_parent(run: Run) -> bool:
    return "mlflow.parentRunId" not in run.data.tags


def _files(uri: str, **what: str) -> dict[str, str]:
    """Hashes of all files; MLflow's own description of a model names ids and is left out."""
    with tempfile.TemporaryDirectory() as scratch, global_uri(uri):
        root = Path(download_artifacts(**what, dst_path=scratch, tracking_uri=uri))
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name not in ("MLmodel", "registered_model_meta")
        }


def check_against(held: dict[str, Any], result: TuneResult, search_id: str) -> None:
    """Asserts that MLflow holds what the search did: all of it, and nothing twice."""
    runs, records = held["runs"], [r for r in result.records if r.duplicate_of is None]
    jobs = {f"{search_id}.{r.job.id}": r for r in [*records, *result.confirmations]}
    assert set(runs) == {search_id, *jobs}
    assert runs[search_id]["parent"] is None
    assert runs[search_id]["info"][1] == "FINISHED"
    backbone = runs[search_id]["params"]["backbone"]
    for uid, record in jobs.items():
        run = runs[uid]
        assert run["parent"] == search_id
        assert run["info"][1] == STATUS[record.state]
        assert run["tags"]["trial_state"] == record.state
        assert run["params"] == trial_params(record.job, "digits", backbone)
        _check_points({(key, step): value for key, step, value, _ in run["points"]}, record)


def _check_points(points: dict[tuple[str, int], float], record: TrialRecord) -> None:
    epochs = {e.epoch: e for e in record.epochs}
    shown = {step for key, step in points if key == "ft/valid_acc"}
    assert shown == set(epochs)  # so few that none is left out
    for step in shown:
        assert points["ft/valid_acc", step] == epochs[step].valid_acc
        assert points["ft/train_loss", step] == epochs[step].train_loss
    shots = {s.epoch: s for s in record.snapshots}
    assert {step for key, step in points if key == "hp/aie"} == set(shots)
    for step, shot in shots.items():
        assert points["hp/aie", step] == shot.aie
    if record.finished is not None:
        assert points["objective", 0] == record.finished.objective
        test = record.finished.test
        assert (test is None) == (("test/accuracy", 0) not in points)
        if test is not None:
            assert points["test/accuracy", 0] == test.accuracy
