"""The command itself, in processes of its own, on the real stack."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

QUICK = ["--ft-epochs", "20", "--fix", "head_arch=linear", "--fix", "reinit_depth=0"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from energytune.cli.main import main; main()", *words]


def test_ctrl_c_stops_cleanly_and_the_told_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["search", "--dataset", "digits", "--trials", "40", *QUICK, "--out", str(out)]
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "t001" in line:  # a plain line for each trial that has ended
                break
        process.send_signal(signal.SIGINT)
        told = process.stdout.read()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, told + errors
    assert "Traceback" not in told + errors
    assert f"--out {out}" in told + errors

    ended = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    kept = {r["job"]["id"] for r in ended if r["reason"] != "interrupted"}
    n_trials = str(len(kept) + 1)
    again = subprocess.run(
        command("search", "--dataset", "digits", *QUICK, "--out", str(out), "--trials", n_trials),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    after = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    repeated = [r["job"]["id"] for r in after[len(ended) :] if r["job"]["role"] != "confirm"]
    assert not kept & set(repeated)


def test_a_disk_that_fills_is_told_with_exit_code_2_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on file size stands for the disk: the write that goes over it fails alike."""
    out = tmp_path / "run"
    words = command("search", "--dataset", "digits", "--trials", "4", *QUICK, "--out", str(out))

    def no_large_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))

    environment = {**os.environ, "ENERGYTUNE_CACHE": str(tmp_path / "cache")}
    full = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env=environment,
        preexec_fn=no_large_files,
    )
    assert full.returncode == 2, full.stdout + full.stderr
    assert "can't be written" in full.stderr
    assert "Traceback" not in full.stderr

    enough = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert enough.returncode == 0, enough.stdout + enough.stderr
