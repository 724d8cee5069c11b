"""Searches on a real cluster of three nodes, each with its own cache, one object store for all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from energytune.storage import SharedStorage
from tests.s3_server import BUCKET, s3_server

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SPACE = """
tau: {low: 0, high: 8}
label_smoothing: {low: 0.0, high: 0.1, step: 0.1}
reinit_depth: {low: 0, high: 0}
ft_lr: {low: 0.003, high: 0.05, default: 0.02}
finetune: {epochs: 2}
"""
STORAGE = f"s3://{BUCKET}/energytune?region=us-east-1"


@dataclass
class ThreeNodes:
    """A running cluster, and the command line beside it."""

    folder: Path
    environment: dict[str, str]
    address: str = ""
    dashboard: str = ""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Starts ``python`` with ``words``; it ends with the cluster."""
        self.processes.append(
            subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**self.environment, **environment},
                cwd=self.folder,
            )
        )
        return self.processes[-1]

    def search(
        self, out: str, *options: str, submit: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``energytune search`` in ``out`` on the cluster, as a driver or as a job."""
        address = self.dashboard if submit else self.address
        words = ["search", "--space", str(self.folder / "space.yaml"), "--confirm-recipes", "1"]
        words += ["--confirm-seeds", "2", "--out", str(self.folder / out), *options, *submit]
        return subprocess.run(
            [sys.executable, "-m", "energytune.cli.main", *words, "--ray-address", address],
            capture_output=True,
            text=True,
            timeout=900,
            env=self.environment,
            cwd=self.folder,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    folder = tmp_path_factory.mktemp("three-nodes")
    (folder / "space.yaml").write_text(SPACE)
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    sockets = tempfile.mkdtemp(prefix="et-", dir="/tmp")  # Ray needs a short path
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with s3_server() as place:
        three = ThreeNodes(
            folder,
            {
                **kept,
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(token),
                "HOME": str(folder),
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")])),
                "ENERGYTUNE_CACHE": str(folder / "cache-driver"),
                "AWS_ENDPOINT_URL": f"http://{place}",
                "AWS_ACCESS_KEY_ID": "user",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
        )
        try:
            host = three.start(str(HERE / "three_nodes.py"), sockets, str(folder))
            assert host.stdout is not None
            vars(three).update(json.loads(host.stdout.readline()))
            yield three
        finally:
            for process in reversed(three.processes):
                process.communicate(timeout=300)
            shutil.rmtree(sockets, ignore_errors=True)


@pytest.fixture(scope="module")
def storage(cluster: ThreeNodes) -> Iterator[SharedStorage]:
    """The store that the nodes share, as this process sees it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        yield SharedStorage(STORAGE)


def trajectories(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("trajectories/*")}


def test_a_search_uses_all_nodes_and_builds_features_once(
    cluster: ThreeNodes, storage: SharedStorage
) -> None:
    ran = cluster.search("plain", "--trials", "6", "--storage-path", STORAGE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "checking 2 other nodes: done" in ran.stdout
    records = [json.loads(line) for line in (cluster.folder / "plain/records.jsonl").open()]
    assert not [record for record in records if record["state"] == "FAIL"]

    caches = {name: cluster.folder / f"cache-{name}" for name in ("driver", "2", "3", "4")}
    own = {name: trajectories(folder) for name, folder in caches.items()}
    assert own["2"]
    assert own["3"]
    assert own["4"]
    built = {
        name: {path.parent.name: path.read_text() for path in cache.glob("features/*/meta.json")}
        for name, cache in caches.items()
    }
    assert len(built["driver"]) == 2  # train and valid
    for name in ("2", "3", "4"):
        assert set(built[name]) == set(built["driver"])
        for key, text in built[name].items():  # the seconds it took are of one building
            taken, original = json.loads(text), json.loads(built["driver"][key])
            assert {**taken, "mtime_ns": 0} == {**original, "mtime_ns": 0}

    search_id = json.loads((cluster.folder / "plain/search.json").read_text())["search_id"]
    names = storage.names()
    assert {name.split("/")[0] for name in names} == {
        "backbones",
        "features",
        "searches",
        "trajectories",
    }
    (kept,) = storage.names(f"searches/{search_id}/")
    (model,) = (cluster.folder / "plain/models").iterdir()
    assert kept == f"searches/{search_id}/models/{model.name}"
    assert model.read_bytes() == storage.get_bytes(kept)
    assert [path for cache in caches.values() for path in cache.rglob("searches/**/*.safe*")] == []


def test_a_submitted_search_carries_the_package_and_its_exit_code_comes_back(
    cluster: ThreeNodes,
) -> None:
    shared = str(cluster.folder / "shared")
    ran = cluster.search(
        "job", "--trials", "3", "--storage-path", shared, submit=["--submit", "--verbose"]
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Search ended: 3 trials" in ran.stdout
    assert ran.stderr.startswith(f"Submitted to {cluster.dashboard} as raysubmit_")
    assert len(ran.stderr.splitlines()) == 1
    assert (cluster.folder / "job" / "report.html").exists()
    assert len(list((cluster.folder / "job" / "models").iterdir())) == 1
    assert SharedStorage(shared).names("features/")

    bad = f"sqlite:///{cluster.folder}/no-folder/study.db"
    failed = cluster.search("bad", "--storage", bad, submit=["--submit"])
    assert failed.returncode == 2
    assert "Error: " in failed.stdout

    token = (cluster.folder / "token").read_text()
    request = urllib.request.Request(
        f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=240) as answer:
        jobs = [job for job in json.load(answer) if job["type"] == "SUBMISSION"]
    assert sorted(job["status"] for job in jobs) == ["FAILED", "SUCCEEDED"]
    for job in jobs:
        assert set(job["runtime_env"]) == {"py_modules"}
        assert len(job["runtime_env"]["py_modules"]) == 1


def test_a_node_that_lacks_what_it_needs_is_named_before_the_first_trial(
    cluster: ThreeNodes,
) -> None:
    (cluster.folder / "file").write_text("no folder")
    lacking = cluster.start(
        *("-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"),
        *("--address", cluster.address, "--node-ip-address", "127.0.0.5"),
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        ENERGYTUNE_CACHE=str(cluster.folder / "file" / "cache"),
    )
    assert lacking.stdout is not None
    for line in lacking.stdout:
        if "Ray runtime started" in line:
            break
    try:
        ran = cluster.search("lacking", "--trials", "3", "--storage-path", STORAGE)
    finally:
        lacking.terminate()
    assert ran.returncode == 2, ran.stdout + ran.stderr
    head, *named = ran.stderr.strip().splitlines()
    assert head == ("Error: 1 of 3 other nodes of the cluster can't take part in this search:")
    (line,) = named
    assert line.startswith("  node 127.0.0.5: ")
    assert f"s3://{BUCKET}/energytune" in line
    assert "its cache folder" in line
    assert not (cluster.folder / "lacking" / "records.jsonl").exists()
