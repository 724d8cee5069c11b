"""A search that is killed wherever it can be ends as one that was not, each thing done once."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.chaos_left import what_is_left

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WORKER = ["hp:3", "ft:9", "ft:30"]
DRIVER = ["run:0", "told:1:baseline_tau_max", "run:3", "confirm", "told:1:confirm", "register"]


def start(home: Path, moments: list[str], **more: str) -> subprocess.Popen[str]:
    """Starts the search, or goes on with it."""
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ENERGYTUNE_CACHE": str(home.with_name(f"{home.name}-cache")),
        "CHAOS_TRAINED": str(home / "trained.txt"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
        **more,
    }
    command = [sys.executable, str(Path(__file__).with_name("faulty_search.py"))]
    return subprocess.Popen(
        [*command, str(home / "run"), *moments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        env=environment,
    )


def run_until_it_ends(home: Path, moments: list[str]) -> int:
    """Starts the search again whenever it was killed; returns the number of starts."""
    for n_starts in range(1, 12):
        search = start(home, moments)
        said, _ = search.communicate(timeout=900)
        home.with_name(f"{home.name}-said.txt").write_text(said)
        if search.returncode == 0:
            return n_starts
        assert search.returncode == -signal.SIGKILL, said[-3000:]
    raise AssertionError("it does not end")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed search leaves."""
    home = tmp_path_factory.mktemp("faults") / "whole"
    assert run_until_it_ends(home, []) == 1
    left = what_is_left(home)
    assert (left["wrong"], left["n_again"]) == ([], 0)
    return left


def check(home: Path, whole: dict[str, Any]) -> None:
    left = what_is_left(home)
    assert left["wrong"] == [], home.with_name(f"{home.name}-said.txt").read_text()[-3000:]
    assert left["trials"] == whole["trials"]
    assert left["runs"] == whole["runs"]
    assert left["winner"] == whole["winner"]


def test_killed_everywhere_nothing_is_lost_and_nothing_is_done_twice(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    n_starts = run_until_it_ends(tmp_path / "killed", WORKER + DRIVER)
    assert n_starts == 1 + len(DRIVER)
    died = {path.name.removeprefix("died-") for path in (tmp_path / "killed").glob("died-*")}
    assert died == {*WORKER, *DRIVER}
    check(tmp_path / "killed", whole)


@pytest.fixture
def head(tmp_path: Path) -> Iterator[tuple[str, psutil.Process, dict[str, str]]]:
    """A cluster's head node by itself: its address, its process, what a driver needs to join."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    joining = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="et-", dir="/tmp")  # Ray puts sockets in it: a short path
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.2", f"--port={port}", "--num-cpus=2"]
    command += [f"--temp-dir={folder}", "--include-dashboard=false", "--disable-usage-stats"]
    home = tmp_path / "killed"
    # workers have the node's environment, not the driver's
    told = {"FAULTY_OUT": str(home / "run"), "CHAOS_TRAINED": str(home / "trained.txt")}
    environment = {**os.environ, **joining, **told, "FAULTY_MOMENTS": "", "PYTHONPATH": str(ROOT)}
    environment["RAY_worker_niceness"] = "0"  # other tests keep the machine busy
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            with suppress(OSError), socket.create_connection(("127.0.0.2", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"127.0.0.2:{port}", psutil.Process(process.pid), joining
    finally:
        lose(psutil.Process(process.pid))
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def lose(node: psutil.Process) -> None:
    """Kills a node: all processes at once, as when its machine is gone."""
    with suppress(psutil.Error):
        for process in [node, *node.children(recursive=True)]:
            with suppress(psutil.Error):
                process.kill()


def test_a_search_whose_head_node_is_lost_ends_and_goes_on_elsewhere(
    tmp_path: Path, whole: dict[str, Any], head: tuple[str, psutil.Process, dict[str, str]]
) -> None:
    address, node, joining = head
    home, records = tmp_path / "killed", tmp_path / "killed" / "run" / "records.jsonl"
    # by itself Ray's client waits for a minute
    patience = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    search = start(home, [], FAULTY_RAY_ADDRESS=address, **joining, **patience)
    while search.poll() is None and (not records.exists() or records.read_text().count("\n") < 2):
        time.sleep(0.05)
    assert search.poll() is None, search.communicate()[0][-3000:]
    lose(node)
    search.communicate(timeout=900)
    assert search.returncode != 0
    assert run_until_it_ends(home, []) == 1
    check(home, whole)
