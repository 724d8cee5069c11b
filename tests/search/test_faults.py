"""A search that is killed wherever it can be ends as one that was not, each thing done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import what_is_left

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WORKER = ["hp:3", "ft:9", "ft:30"]
DRIVER = ["run:0", "told:1:baseline_tau_max", "run:3", "confirm", "told:1:confirm", "register"]


def run_until_it_ends(home: Path, moments: list[str], cache: Path) -> int:
    """Starts the search again whenever it was killed; returns the number of starts."""
    home.mkdir()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ENERGYTUNE_CACHE": str(cache),
        "CHAOS_TRAINED": str(home / "trained.txt"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
    }
    command = [sys.executable, str(Path(__file__).with_name("faulty_search.py"))]
    for n_starts in range(1, 12):
        done = subprocess.run(
            [*command, str(home / "run"), *moments],
            capture_output=True,
            text=True,
            cwd=home,
            env=environment,
            check=False,
            timeout=600,
        )
        if done.returncode == 0:
            return n_starts
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    raise AssertionError("it does not end")


def test_killed_everywhere_nothing_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    assert run_until_it_ends(tmp_path / "whole", [], tmp_path / "cache-a") == 1
    n_starts = run_until_it_ends(tmp_path / "killed", WORKER + DRIVER, tmp_path / "cache-b")
    assert n_starts == 1 + len(DRIVER)
    died = {path.name.removeprefix("died-") for path in (tmp_path / "killed").glob("died-*")}
    assert died == {*WORKER, *DRIVER}
    left, whole = (what_is_left(tmp_path / name) for name in ("killed", "whole"))
    assert left["wrong"] == whole["wrong"] == []
    assert left["trials"] == whole["trials"]
    assert left["runs"] == whole["runs"]
    assert left["winner"] == whole["winner"]
    assert whole["n_again"] == 0
