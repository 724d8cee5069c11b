"""What is not on a machine is told, and fails where everything is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CONFTEST = "from tests.not_run import pytest_runtest_makereport, pytest_terminal_summary\n"
TESTS = """
import pytest
from tests.not_run import no_device, not_run

@pytest.fixture(scope="module")
def browser():
    not_run("Chromium", "apt-get install chromium")

def test_with_it(browser): pass
def test_with_it_too(browser): pass
def test_other(): not_run("PostgreSQL", "pip install it")
def test_for_another_reason(): pytest.skip("of no use here")
def test_on_a_device(): no_device("NVIDIA GPU")
def test_that_runs(): pass
"""


def session(tmp_path: Path, **env: str) -> tuple[int, str]:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    clean = {k: v for k, v in os.environ.items() if k != "ENERGYTUNE_REQUIRE_ALL"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_they_are_listed_with_the_command_that_installs_what_is_missing(tmp_path: Path) -> None:
    code, told = session(tmp_path)
    assert code == 0
    assert "1 passed, 5 skipped" in told
    listed = told.split(" NOT RUN ")[1]
    assert "2 tests: there is no Chromium on this machine. Install it: apt-get install" in listed
    assert "test_some.py::test_with_it_too" in listed
    assert "1 test: there is no PostgreSQL" in listed
    assert "1 test: there is no device of this kind: NVIDIA GPU" in listed
    assert "another_reason" not in listed


def test_they_fail_where_everything_is_required(tmp_path: Path) -> None:
    code, told = session(tmp_path, ENERGYTUNE_REQUIRE_ALL="1")
    assert code == 1
    assert "ENERGYTUNE_REQUIRE_ALL=1: what is not run fails" in told
    assert "apt-get install chromium" in told
    counts = told.strip().splitlines()[-1]
    assert "1 passed, 2 skipped" in counts
    assert any(word in counts for word in ("1 failed, 1 passed, 2 skipped, 2 errors", "3 failed"))
    assert "1 test: there is no device of this kind: NVIDIA GPU" in told
