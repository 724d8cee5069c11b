from __future__ import annotations

import pytest
import torch

from energytune.training.threads import cpu_threads


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
