"""Several processes that want the same features: real ones, and one that is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from energytune.training.feature_store import FeatureStore
from tests.training.entry_writer import Writer, values_of

pytestmark = pytest.mark.integration

KEY = "k" * 32
PROGRAM = Path(__file__).with_name("entry_writer.py")
SUM = "435.0"


@pytest.fixture
def start(tmp_path) -> Iterator:
    running: list[subprocess.Popen] = []

    def process(how: str) -> subprocess.Popen:
        running.append(
            subprocess.Popen(
                [sys.executable, PROGRAM, tmp_path / "features", KEY, how],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=PROGRAM.parents[2],
                env={"PYTHONPATH": str(PROGRAM.parents[2])},
            )
        )
        return running[-1]

    yield process
    for one in running:
        one.kill()
        one.communicate()


def test_of_several_that_start_at_once_one_computes(start, tmp_path) -> None:
    processes = [start("quick") for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=300)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(lines.count("computes") for lines in told) == 1
    assert [lines[-1] for lines in told] == [SUM] * 4
    assert [path.name for path in (tmp_path / "features").iterdir()] == [KEY]


def test_the_next_takes_over_from_a_killed_builder(start, tmp_path) -> None:
    root = tmp_path / "features"
    builder = start("hangs")
    builder.stdin.write("go\n")
    builder.stdin.flush()
    assert builder.stdout.readline() == "computes\n"
    waiter = start("quick")
    waiter.stdin.write("go\n")
    waiter.stdin.flush()
    assert waiter.stdout.readline() == "waits\n"
    builder.kill()
    builder.wait()  # else its number is still taken
    assert waiter.communicate(timeout=300)[0].split() == ["computes", SUM]
    assert [path.name for path in root.iterdir()] == [KEY]
    stored = FeatureStore(root).find(KEY, 1, 6)
    assert stored is not None
    assert (values_of(stored) == Writer().values).all()
