"""The global state of a process that jobs share: taken once, put back after each job."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["ProcessState"]


@dataclass(frozen=True)
class ProcessState:
    """What a job, or a user's own network in it, may leave behind in torch, NumPy and Python.

    Attributes:
        default_dtype: Of new tensors.
        n_threads: CPU threads.
        with_grad: Whether gradients are recorded.
        deterministic: What torch does at an algorithm that is not: 0 nothing, 1 warn, 2 raise.
        matmul_precision: Of float32 products.
        cudnn: Its flags by name.
        generators: States of the generators of Python, NumPy and torch.
    """

    default_dtype: torch.dtype
    n_threads: int
    with_grad: bool
    deterministic: int
    matmul_precision: str
    cudnn: dict[str, bool]
    generators: tuple[Any, Any, Tensor]

    @classmethod
    def now(cls) -> ProcessState:
        """Takes the state as it is; changes nothing."""
        return cls(
            default_dtype=torch.get_default_dtype(),
            n_threads=torch.get_num_threads(),
            with_grad=torch.is_grad_enabled(),
            deterministic=torch.get_deterministic_debug_mode(),
            matmul_precision=torch.get_float32_matmul_precision(),
            cudnn={name: getattr(torch.backends.cudnn, name) for name in _CUDNN},
            generators=(random.getstate(), np.random.get_state(), torch.get_rng_state()),
        )

    def restore(self) -> None:
        """Puts the state back, and gives back what a job has cached beside its own memory."""
        torch.set_default_dtype(self.default_dtype)
        if torch.get_num_threads() != self.n_threads:
            torch.set_num_threads(self.n_threads)
        torch.set_grad_enabled(self.with_grad)
        # To set this loads torch's compiler: a second of each worker, if it were always done.
        if torch.get_deterministic_debug_mode() != self.deterministic:
            torch.use_deterministic_algorithms(
                self.deterministic > 0, warn_only=self.deterministic == 1
            )
        torch.set_float32_matmul_precision(self.matmul_precision)
        for name, value in self.cudnn.items():
            setattr(torch.backends.cudnn, name, value)
        python, numpy, cpu = self.generators
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        torch.clear_autocast_cache()
        for kind in ("cpu", "cuda"):
            torch.set_autocast_enabled(kind, False)
        if "torch._dynamo" in sys.modules:  # compiled code holds the network it was made for
            torch.compiler.reset()
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


_CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")
