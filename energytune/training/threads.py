"""How many CPU threads a piece of work computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["cpu_threads"]


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Computes inside with ``n_threads`` CPU threads, and afterwards with as many as before.

    Small tensors only lose time on several threads, most of all where others use the machine:
    threads that wait for each other are then descheduled. The number also decides how sums are
    rounded, so whatever has to be equal between two commands fixes it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
