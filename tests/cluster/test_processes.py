"""What only a process of its own can show: silence, Ctrl-C, and joining another's cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent


@pytest.fixture
def fresh_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has never run Ray: no settings, nothing at home."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    root = str(HERE.parents[1])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH", ""))))
    return {**kept, "HOME": str(home)}


@pytest.fixture
def locked_environment(tmp_path: Path, fresh_environment: dict[str, str]) -> dict[str, str]:
    """The environment of one test's processes: they share a token that is theirs alone."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    return {**fresh_environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@pytest.fixture
def address_of_two_nodes(locked_environment: dict[str, str]) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="et-", dir="/tmp")  # Ray puts sockets in it: a short path
    host = subprocess.Popen(
        [sys.executable, str(HERE / "two_nodes.py"), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=locked_environment,
    )
    try:
        assert host.stdout is not None
        yield host.stdout.readline().strip()
    finally:
        host.communicate(timeout=300)
        shutil.rmtree(folder, ignore_errors=True)


def search(folder: Path, address: str, environment: dict[str, str]) -> dict[str, Any]:
    """Runs ``quiet_search`` and returns what happened; fails unless it was silent."""
    ran = subprocess.run(
        [sys.executable, str(HERE / "quiet_search.py"), str(folder), address],
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
    )
    assert (ran.stdout, ran.stderr) == ("", "")
    assert ran.returncode == 0
    outcome: dict[str, Any] = json.loads((folder / "outcome.json").read_text())
    return outcome


def check(outcome: dict[str, Any]) -> None:
    reason = outcome["ends"].pop("die-4")
    assert reason.startswith("its worker process died")
    assert outcome["ends"] == {
        "meet-1": None,
        "meet-2": None,
        "boom-3": "ValueError: no such thing",
        "ok-5": None,
    }
    assert outcome["concurrency"] == 2
    assert outcome["interrupted"] == {"stuck-6": "interrupted", "stuck-7": "interrupted"}
    assert outcome["handler_kept"] is True
    assert outcome["left"] == []
    assert outcome["environment"] == []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_search_is_silent_and_ctrl_c_ends_it(
    tmp_path: Path, fresh_environment: dict[str, str]
) -> None:
    outcome = search(tmp_path, "-", fresh_environment)
    check(outcome)
    assert outcome["second_ends"] == {"ok-8": None}
    assert list((tmp_path / "home").iterdir()) == []
    assert outcome["nodes"] == 1
    made = {int(pid) for pid in (tmp_path / "made").read_text().split()}
    for _ in range(600):  # a worker ends by itself, once it sees that its daemon is gone
        if not any(map(alive, made)):
            break
        time.sleep(0.1)
    assert not [pid for pid in made if alive(pid)]


def test_joins_a_cluster_of_two_nodes_and_leaves_it_running(
    tmp_path: Path, locked_environment: dict[str, str], address_of_two_nodes: str
) -> None:
    outcome = search(tmp_path, address_of_two_nodes, locked_environment)
    check(outcome)
    assert outcome["nodes"] == 2
    assert outcome["second_ends"] == {"ok-8": None}
