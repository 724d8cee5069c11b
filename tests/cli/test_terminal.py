"""The command on a real (pseudo) terminal, in a process of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

SCRIPT = """
import sys, types
from tests.cli.conftest import Stub
sys.modules["energytune.tune"] = Stub()
from energytune.cli.main import main
main()
"""


COLUMNS = ("trial", "state", "tau", "head", "AIE", "HP-train-acc", "FT-valid-acc")


def on_a_terminal(*arguments: str, cwd: Path, columns: int = 100, lines: int = 30) -> str:
    """Returns what a terminal of this size was sent."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (lines, columns))
    root = Path(__file__).parents[2]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "TERM": "xterm-256color",
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=cwd,
        env=environment,
    )
    os.close(follower)
    sent = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        sent += part
    os.close(leader)
    assert process.wait() == 0, sent.decode()
    return sent.decode()


@pytest.mark.integration
def test_a_terminal_gets_one_live_table_and_the_summary(tmp_path: Path) -> None:
    raw = on_a_terminal("search", "--trials", "6", cwd=tmp_path)
    assert "\x1b[?25l" in raw  # the cursor is hidden while the table lives
    assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l")  # and shown again
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
    headers = [line.split() for line in text.splitlines() if "HP-train-acc" in line]
    assert headers[-1] == list(COLUMNS)
    assert re.search(r"t002 \* +complete +8 +mlp ls=0.1 ", text)
    assert "5/6 trials  confirming 9/15  best so far 90.0 %" in text
    assert "Winner: t002" in text
    assert "[1/6]" not in text  # no plain lines beside the table
