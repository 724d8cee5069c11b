from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from benchmarks.turns import _signal_tree, active_s, take_turns

WORK = "import subprocess, sys; subprocess.run([sys.executable, '-c', {0!r}]); {0}"
"""It works twice, the first time in a process of its own."""
COUNT = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.3: pass"


def test_only_turns_count() -> None:
    turns = [(1.0, 2.0), (3.0, 5.0)]
    assert active_s(turns, 0.0, 10.0) == 3.0
    assert active_s(turns, 1.5, 3.5) == 1.0
    assert active_s(turns, 2.2, 2.8) == 0.0
    assert active_s([], 0.0, 1.0) == 0.0


@pytest.mark.integration
def test_processes_run_by_turns_with_all_they_started_and_all_end() -> None:
    command = [sys.executable, "-c", WORK.format(COUNT)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    turns = take_turns(processes, slice_s=0.1)
    assert [process.returncode for process in processes] == [0, 0]
    for own, other in (turns, turns[::-1]):
        assert len(own) > 3
        assert active_s(own, own[0][0], own[-1][1]) > 0.5
        assert all(active_s(other, begin, end) == 0.0 for begin, end in own)


CHAIN = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {0!r}]).wait())"
LEAF = "print('there', flush=True); input(); print('ended')"


@pytest.mark.integration
def test_a_process_whose_parent_dies_while_it_is_stopped_goes_on() -> None:
    command = [sys.executable, "-c", CHAIN.format(CHAIN.format(LEAF))]
    root = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert root.stdin is not None
    assert root.stdout is not None
    assert root.stdout.readline() == b"there\n"
    seen: set[psutil.Process] = set()
    _signal_tree(root, signal.SIGSTOP, seen)
    (parent,) = psutil.Process(root.pid).children()
    parent.kill()
    _signal_tree(root, signal.SIGCONT, seen)
    told, _ = root.communicate(b"\n", timeout=240)
    assert set(told.split()) == {b"ended", b"-9"}
