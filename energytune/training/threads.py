"""How many CPU threads a piece of work computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch

__all__ = ["Workers", "cpu_threads"]


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


class Workers:
    """Threads that do pieces of work side by side, each computing on a single core.

    A context manager; one worker is the calling thread itself, with its own number of threads.

    Args:
        n_workers: >= 1.

    Attributes:
        n_workers: As given.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Makes the threads; they start with the first work."""
        if self.n_workers > 1:
            self._pool = ThreadPoolExecutor(self.n_workers, initializer=_one_thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, pieces: Sequence[Callable[[], None]]) -> None:
        """Does all pieces, which must not touch each other's data; raises what one of them does."""
        if self._pool is None or len(pieces) == 1:
            for piece in pieces:
                piece()
            return
        with cpu_threads(1):
            for done in [self._pool.submit(piece) for piece in pieces]:
                done.result()


def _one_thread() -> None:
    torch.set_num_threads(1)
