"""A node that is lost in mid-run takes nothing with it: its jobs go on elsewhere."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent


def test_jobs_of_a_lost_node_go_on_elsewhere_and_are_told_once(tmp_path: Path) -> None:
    token, folder = tmp_path / "token", tmp_path / "jobs"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    folder.mkdir()
    temp_dir = tempfile.mkdtemp(prefix="et-", dir="/tmp")  # Ray puts sockets in it: a short path
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **kept,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(HERE.parents[1]), str(HERE), kept.get("PYTHONPATH", "")))
        ),
    }
    try:
        ran = subprocess.run(
            [sys.executable, str(HERE / "lost_node.py"), temp_dir, str(folder)],
            capture_output=True,
            text=True,
            timeout=900,
            env=environment,
            check=False,
        )
    finally:
        shutil.rmtree(temp_dir, ignore_errors=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    outcome = json.loads(ran.stdout.splitlines()[-1])
    assert outcome["slots"] == 3
    jobs = [f"job-{i}" for i in range(5)]
    assert outcome["ends"] == dict.fromkeys(jobs)
    assert outcome["told"] == {job: list(range(1, 13)) for job in jobs}
    moved = [nodes for nodes in outcome["where"].values() if len(nodes) > 1]
    assert [nodes[0] for nodes in moved] == ["127.0.0.3"]
    assert moved[0][1] in ("127.0.0.2", "127.0.0.4")
