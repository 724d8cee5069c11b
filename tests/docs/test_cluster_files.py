"""The ready files of the cluster guide: Ray takes one, the other is a whole RayJob."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.docs.commands import why_wrong

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "cluster"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((FILES / "rayjob.yaml").read_text(encoding="utf-8")))
    claim, job = documents
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert isinstance(job["spec"], dict)
    return {"claim": claim["metadata"]["name"], **job["spec"]}


def test_ray_takes_the_file_of_its_launcher() -> None:
    config = yaml.safe_load((FILES / "ray-cluster.yaml").read_text(encoding="utf-8"))
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    started = " ".join(config["head_start_ray_commands"] + config["worker_start_ray_commands"])
    assert started.count("RAY_AUTH_MODE=token") == 2
    broken = {**config, "head_start_command": []}
    with pytest.raises(Exception, match="head_start_command"):
        validate_config(prepare_config(broken))


def test_the_jobs_command_is_one_that_the_command_line_takes(job: dict[str, Any]) -> None:
    assert why_wrong(job["entrypoint"]) == ""
    assert "--ray-address auto" in job["entrypoint"]
    assert "--storage-path s3://" in job["entrypoint"]


def test_the_job_is_whole(job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    head = cluster["headGroupSpec"]["template"]["spec"]
    out = re.search(r"--out (/\S+?)/", job["entrypoint"])
    assert out is not None
    (mount,) = head["containers"][0]["volumeMounts"]
    (volume,) = head["volumes"]
    assert mount["mountPath"] == out[1]
    assert mount["name"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == job["claim"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"]
        (worker,) = group["template"]["spec"]["containers"]
        assert worker["image"] == head["containers"][0]["image"]
        assert worker["envFrom"] == head["containers"][0]["envFrom"]
        assert set(worker["resources"]) == {"requests", "limits"}


def test_the_image_has_the_pinned_ray() -> None:
    image = (FILES / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM rayproject/ray:{ray.__version__}-py3" in image
    assert "constraints.txt" in image
    assert f"\nray=={ray.__version__}\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
