"""What a job leaves behind in its process is put back, at no cost where it left nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from energytune.training.process_state import ProcessState


@pytest.fixture
def before() -> Iterator[ProcessState]:
    state = ProcessState.now()
    yield state
    state.restore()


def test_what_a_job_changed_is_put_back(before: ProcessState) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(before.n_threads + 1)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = not before.cudnn["benchmark"]
    torch.set_autocast_enabled("cpu", True)
    drawn = random.random(), np.random.rand(), float(torch.rand((), dtype=torch.float32))
    before.restore()
    assert torch.get_default_dtype() == before.default_dtype
    assert torch.get_num_threads() == before.n_threads
    assert torch.is_grad_enabled() == before.with_grad
    assert torch.get_float32_matmul_precision() == before.matmul_precision
    assert torch.backends.cudnn.benchmark == before.cudnn["benchmark"]
    assert not torch.is_autocast_enabled("cpu")
    assert drawn == (random.random(), np.random.rand(), float(torch.rand((), dtype=torch.float32)))


@pytest.mark.parametrize("warn_only", [True, False])
def test_what_torch_does_at_algorithms_that_are_not_deterministic_is_put_back(
    before: ProcessState, warn_only: bool
) -> None:
    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    kept = ProcessState.now()
    torch.use_deterministic_algorithms(True, warn_only=not warn_only)
    kept.restore()
    assert torch.get_deterministic_debug_mode() == (1 if warn_only else 2)
    before.restore()
    assert torch.get_deterministic_debug_mode() == mode


def test_the_compiler_is_not_loaded_where_nothing_was_changed() -> None:
    code = (
        "import sys; from energytune.training.process_state import ProcessState; "
        "ProcessState.now().restore(); print('torch._dynamo' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
