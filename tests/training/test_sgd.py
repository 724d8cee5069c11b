from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from energytune.training.sgd import Sgd

N_STEPS = 12


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(33, 17), nn.Tanh(), nn.Linear(17, 5))


def _loss(network: nn.Module, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 33, generator=generator)
    targets = torch.randint(5, (16,), generator=generator)
    return nn.functional.cross_entropy(network(inputs), targets)


def _lr(step: int) -> float:
    return 0.1 * (1 - step / N_STEPS)


def _ours(network: nn.Module, momentum: float, weight_decay: float) -> Sgd:
    return Sgd(list(network.named_parameters()), momentum=momentum, weight_decay=weight_decay)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_equals_torch_bit_for_bit_over_a_schedule(momentum, weight_decay) -> None:
    mine = _network()
    theirs = copy.deepcopy(mine)
    ours = _ours(mine, momentum, weight_decay)
    reference = torch.optim.SGD(
        theirs.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay, fused=True
    )
    for step in range(N_STEPS):
        ours.step(_loss(mine, step), _lr(step))
        reference.param_groups[0]["lr"] = _lr(step)
        reference.zero_grad()
        _loss(theirs, step).backward()
        reference.step()
        for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(own, other), f"step {step}"


def test_is_within_rounding_of_torchs_default() -> None:
    mine = _network()
    theirs = copy.deepcopy(mine)
    ours = _ours(mine, 0.9, 1e-2)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    for step in range(N_STEPS):
        ours.step(_loss(mine, step), 0.05)
        reference.zero_grad()
        _loss(theirs, step).backward()
        reference.step()
    for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-6)


def test_goes_on_from_a_saved_state() -> None:
    straight, stopped = _network(), _network()
    optimizer = _ours(straight, 0.9, 1e-2)
    for step in range(8):
        optimizer.step(_loss(straight, step), _lr(step))

    first = _ours(stopped, 0.9, 1e-2)
    for step in range(4):
        first.step(_loss(stopped, step), _lr(step))
    saved = {name: value.clone() for name, value in first.state().items()}
    second = _ours(stopped, 0.9, 1e-2)
    second.load_state(saved)
    for step in range(4, 8):
        second.step(_loss(stopped, step), _lr(step))
    for own, other in zip(stopped.parameters(), straight.parameters(), strict=True):
        assert torch.equal(own, other)


def test_state_is_named_as_the_parameters_and_complete() -> None:
    network = _network()
    optimizer = _ours(network, 0.9, 0.0)
    assert list(optimizer.state()) == [name for name, _ in network.named_parameters()]
    with pytest.raises(KeyError):
        optimizer.load_state({"0.weight": torch.zeros(17, 33)})


def test_parameters_left_out_are_neither_moved_nor_given_gradients() -> None:
    network = _network()
    before = copy.deepcopy(network.state_dict())
    head = [(name, p) for name, p in network.named_parameters() if name.startswith("2.")]
    Sgd(head, momentum=0.9, weight_decay=0.1).step(_loss(network, 0), 0.1)
    after = network.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])
    assert all(parameter.grad is None for parameter in network.parameters())
