from __future__ import annotations

import pytest
import torch
from torch import nn

from energytune.errors import UnknownNameError
from energytune.models.heads import MLP_HIDDEN, create_head


def test_linear_head_is_nn_linear_under_the_seed() -> None:
    head = create_head("linear", 12, 5, seed=4)
    torch.manual_seed(4)
    reference = nn.Linear(12, 5)
    assert torch.equal(head.weight, reference.weight)
    assert torch.equal(head.bias, reference.bias)


def test_mlp_head_shapes() -> None:
    head = create_head("mlp", 12, 5, seed=4)
    assert [tuple(p.shape) for p in head.parameters()] == [
        (MLP_HIDDEN, 12),
        (MLP_HIDDEN,),
        (5, MLP_HIDDEN),
        (5,),
    ]
    x = torch.randn(3, 12)
    by_hand = head[2](torch.relu(head[0](x)))
    assert torch.equal(head(x), by_hand)


def test_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (create_head("linear", 4, 3, seed=s).weight for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_head_names_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match=r"'linera'.*'linear'"):
        create_head("linera", 4, 3, seed=0)
