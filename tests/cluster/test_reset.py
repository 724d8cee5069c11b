"""Fifty jobs in one worker process: nothing of one is left for the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.not_run import no_device

ROOT = Path(__file__).parents[2]
FIRST = 20
"""Jobs after which caches, pools and arenas have their size."""


def fifty_jobs(folder: Path, device: str) -> list[dict[str, Any]]:
    from energytune.paths import cache_dir
    from energytune.training.pretrain import pretrain_embedded

    backbone = pretrain_embedded("digits", "digits-mlp", cache_dir())
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.fifty_jobs", str(folder), str(backbone), device],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_ends(told: list[dict[str, Any]]) -> None:
    assert [bool(job["error"]) for job in told] == [number % 5 == 4 for number in range(50)]


@pytest.mark.integration
def test_memory_does_not_grow_and_state_is_put_back(tmp_path: Path) -> None:
    told = fifty_jobs(tmp_path, "cpu")
    check_ends(told)
    assert told[-1]["rss_bytes"] - told[FIRST]["rss_bytes"] < 8 * 2**20
    states = {
        json.dumps({k: v for k, v in job.items() if k not in ("error", "rss_bytes")})
        for job in told
    }
    (state,) = states
    assert {
        "dtype": "torch.float32",
        "n_threads": 1,
        "grad": True,
        "benchmark": False,
        "autocast": False,
    }.items() <= json.loads(state).items()


@pytest.mark.integration
def test_the_gpu_is_empty_after_each_job(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        no_device("NVIDIA GPU")
    told = fifty_jobs(tmp_path, "cuda")
    check_ends(told)
    assert len({job["cuda_bytes"] for job in told[FIRST:]}) == 1
