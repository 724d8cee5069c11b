from __future__ import annotations

import torch
from torch import nn

from energytune.models import EmbeddedMLP
from energytune.models.networks import EmbeddedCNN, FlatOutput


def test_shapes_and_blocks() -> None:
    net = EmbeddedMLP()
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(128, 64), (128,)] + [(128, 128), (128,)] * 3
    assert isinstance(net.blocks, nn.ModuleList)
    assert net.sequential_blocks is True
    assert net(torch.zeros(5, 64)).shape == (5, net.num_features)


def test_equals_a_plain_sequential_of_linear_and_relu() -> None:
    net = EmbeddedMLP()
    plain = nn.Sequential()
    for block in net.blocks:
        linear = nn.Linear(block.in_features, block.out_features)
        linear.load_state_dict(block.state_dict())
        plain.extend([linear, nn.ReLU()])
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x), plain(x))


def test_initialised_as_nn_linear() -> None:
    torch.manual_seed(5)
    net = EmbeddedMLP(n_blocks=1)
    torch.manual_seed(5)
    assert torch.equal(net.blocks[0].weight, nn.Linear(64, 128).weight)


def test_flat_output() -> None:
    assert FlatOutput(nn.Identity())(torch.zeros(2, 3, 4, 5)).shape == (2, 60)


def test_cnn_equals_plain_convolutions() -> None:
    net = EmbeddedCNN()
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    h = x.view(5, 1, 8, 8)
    for block, stride in zip(list(net.blocks)[:3], (1, 2, 2), strict=True):
        h = torch.relu(nn.functional.conv2d(h, block.weight, block.bias, stride=stride, padding=1))
    assert h.shape == (5, 32, 2, 2)
    dense = net.blocks[3]
    expected = torch.relu(nn.functional.linear(h.flatten(1), dense.weight, dense.bias))
    torch.testing.assert_close(net(x), expected)
    assert net(x).shape == (5, net.num_features)
