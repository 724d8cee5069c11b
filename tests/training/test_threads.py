from __future__ import annotations

import threading

import pytest
import torch

from energytune.training.threads import Workers, cpu_threads


def test_threads_are_put_back_also_after_a_failure() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        with cpu_threads(before + 1):
            seen.append(torch.get_num_threads())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_workers_do_their_pieces_side_by_side_on_a_core_each() -> None:
    meeting = threading.Barrier(2, timeout=240)
    seen: list[int] = []

    def piece() -> None:
        meeting.wait()  # breaks unless both are at work at once
        seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    with Workers(2) as workers:
        workers.run([piece, piece])
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("n_workers", [1, 2])
def test_all_pieces_are_done_and_a_failure_is_raised(n_workers: int) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("stop")

    with Workers(n_workers) as workers:
        workers.run([lambda i=i: done.append(i) for i in range(5)])
        assert sorted(done) == list(range(5))
        with pytest.raises(ValueError, match="stop"):
            workers.run([fail, fail])


def test_one_worker_is_the_caller_itself() -> None:
    here: list[bool] = []
    with Workers(1) as workers:
        workers.run([lambda: here.append(threading.current_thread() is threading.main_thread())])
    assert here == [True]
