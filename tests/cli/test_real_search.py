"""The command itself, in processes of its own, on the real stack."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

QUICK = ["--finetune-epochs", "20", "--fix", "head_arch=linear", "--fix", "reinit_depth=0"]


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
        _, errors = process.communicate(timeout=900)
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
        timeout=900,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    after = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    repeated = [r["job"]["id"] for r in after[len(ended) :] if r["job"]["role"] != "confirm"]
    assert not kept & set(repeated)
