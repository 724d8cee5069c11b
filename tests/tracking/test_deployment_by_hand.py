"""The configuration of ``mlflow/`` as somebody without containers starts it.

PostgreSQL, an S3-compatible store and ``start.sh``, all on this machine; searches log into it as
users who are no administrators.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import energytune.search.tracked as tracked
from energytune.config import SearchConfig, SearchSpace
from energytune.search.run import run_search
from energytune.tracking import Patience, sync
from tests.postgres import (
    PASSWORD,
    PostgresServer,
    free_port,
    postgres_server,  # noqa: F401 - a fixture
)
from tests.tracking.whole_store import check_against, picture

pytestmark = pytest.mark.integration
FOLDER = Path(__file__).parents[2] / "mlflow"
ADMIN_PASSWORD = "correct horse battery"
USERS = {"ada": "analytical engine", "bob": "barometer rising"}


@dataclass
class Deployment:
    """What was started.

    Attributes:
        url: The MLflow server.
        s3_url: The artifact store.
        bucket: Its bucket.
    """

    url: str
    s3_url: str
    bucket: str

    def ask(self, path: str, user: str = "", password: str = "", **more: Any) -> int:
        """Returns the status of an answer."""
        data = json.dumps(more.pop("json")).encode() if "json" in more else None
        headers = {"Content-Type": "application/json", **more}
        if user:
            headers["Authorization"] = (
                "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            )
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=240) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def objects(self) -> list[str]:
        """Returns the keys in the bucket, asked of the store itself."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.s3_url)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when something speaks HTTP there."""
    for _ in range(900):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    raise RuntimeError(f"{url} did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def deployment(postgres_server: PostgresServer) -> Iterator[Deployment]:  # noqa: F811
    home = Path(tempfile.mkdtemp(prefix="energytune-deployment-"))
    postgres_server.sql("CREATE DATABASE mlflow")  # as the image does; the rest as initdb/ says
    for line in (FOLDER / "initdb" / "10-databases.sql").read_text().splitlines():
        if not line.startswith("--"):
            postgres_server.sql(line)
    found = Deployment(
        f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", "by-hand"
    )
    port, s3_port = (address.rsplit(":", 1)[1] for address in (found.url, found.s3_url))
    keys = {
        "AWS_ACCESS_KEY_ID": "storekey",
        "AWS_SECRET_ACCESS_KEY": "storesecret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_"))},
        **keys,
        "PATH": path,
        "TMPDIR": str(home),
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(postgres_server.port),
        "POSTGRES_USER": "mlflow",
        "POSTGRES_PASSWORD": PASSWORD,
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef",
        "ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "ALLOWED_ORIGINS": found.url,
        "ARTIFACTS_DESTINATION": f"s3://{found.bucket}/mlflow",
        "MLFLOW_S3_ENDPOINT_URL": found.s3_url,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": port,
        "WORKERS": "1",
    }
    commands = {
        found.s3_url: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", s3_port],
        f"{found.url}/health": ["sh", str(FOLDER / "start.sh")],
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, (url, command) in enumerate(commands.items()):
            log = home / f"{number}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=home,
                    start_new_session=True,
                )
            started.append(process)
            wait_for(url, process, log)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in keys.items():
                patch.setenv(name, value)  # for the test's own look into the bucket
            yield found
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for name in ("mlflow", "mlflow_auth", "optuna"):
            postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def make_config(tmp_path: Path, deployment: Deployment) -> Callable[[str], SearchConfig]:
    space = SearchSpace.model_validate(
        {
            "tau": {"low": 0, "high": 8},
            "ft_lr": {"low": 0.01, "high": 0.1},
            "finetune": {"epochs": 2, "patience": None},
        }
    )

    def make(name: str) -> SearchConfig:
        return SearchConfig(
            dataset="digits",
            space=space,
            n_trials=3,
            n_confirm_seeds=1,
            sampler="random",
            out=tmp_path / name,
            tracking_uri=deployment.url,
        )

    return make


def test_users_search_and_their_artifacts_reach_the_bucket(
    deployment: Deployment,
    ray_session: None,
    make_config: Callable[[str], SearchConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = "/api/2.0/mlflow/users/create"
    search = "/api/2.0/mlflow/experiments/search"
    for user, password in USERS.items():
        person = {"username": user, "password": password}
        assert deployment.ask(create, "admin", ADMIN_PASSWORD, json=person) == 200
        assert deployment.ask(create, user, password, json={**person, "username": "eve"}) == 403
        assert deployment.ask(search, user, password, json={"max_results": 1}) == 200
    assert deployment.ask(search, json={"max_results": 1}) == 401
    assert deployment.ask(search, "ada", "wrong", json={"max_results": 1}) == 401
    for host in ("evil.com", "10.evil.com", "127.0.0.1:1", "localhost"):
        assert deployment.ask("/", "ada", USERS["ada"], Host=host) == 403, host

    # on a busy machine the server may be slower than a search has patience; not the question here
    monkeypatch.setattr(tracked, "Patience", partial(Patience, budget_s=300.0))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", USERS["ada"])
    result = run_search(make_config("ada"))
    assert result.tracking.warning is None
    assert result.registered is not None
    held = picture(deployment.url)
    check_against(held, result, search_id_of(tmp_path / "ada"))
    assert held["versions"][1]["uid"] in held["runs"]
    keys = deployment.objects()
    assert all(key.startswith("mlflow/") for key in keys)
    assert any(key.endswith("/artifacts/records.jsonl") for key in keys)
    assert any(key.endswith(".safetensors") and "/models/m-" in key for key in keys)

    # bob mistypes his password: his search ends well all the same, and is told why
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    second = run_search(make_config("bob"))
    assert second.winner is not None
    assert second.registered is None
    warning = str(second.tracking.warning)
    assert "MLFLOW_TRACKING_USERNAME" in warning
    assert "energytune sync" in warning
    assert "wrong" not in warning
    assert picture_as(monkeypatch, "ada", deployment.url) == held

    # he may log into the experiment that ada made, and register beside her
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", USERS["bob"])
    assert sync(tmp_path / "bob").model is not None
    both = picture(deployment.url)
    assert set(both["versions"]) == {1, 2}
    assert {uid: run for uid, run in both["runs"].items() if uid in held["runs"]} == held["runs"]
    ours = {uid: run for uid, run in both["runs"].items() if uid not in held["runs"]}
    check_against({"runs": ours}, second, search_id_of(tmp_path / "bob"))


def picture_as(monkeypatch: pytest.MonkeyPatch, user: str, url: str) -> dict[str, Any]:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", USERS[user])
    return picture(url)


def search_id_of(run: Path) -> str:
    return str(json.loads((run / "search.json").read_text())["search_id"])
