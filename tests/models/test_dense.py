import pytest
import torch
import torch.nn.functional as F
from torch import nn

from energytune.models.dense import dense_chain
from energytune.models.networks import HiddenLayer


class MyLinear(nn.Linear):
    """Might do anything in its forward."""


@pytest.mark.parametrize(
    "modules",
    [
        [nn.Linear(3, 4)],
        [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)],
        [HiddenLayer(3, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))],
        [nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.ReLU())],
    ],
)
def test_a_chain_computes_what_its_modules_compute(modules: list[nn.Module]) -> None:
    layers = dense_chain(modules)
    assert layers is not None
    x = expected = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for layer in layers:
        x = F.linear(x, layer.weight, layer.bias)
        x = x.relu() if layer.relu else x
    for module in modules:
        expected = module(expected)
    assert torch.equal(x, expected)


@pytest.mark.parametrize(
    "modules",
    [
        [],
        [nn.ReLU(), nn.Linear(3, 3)],
        [nn.Linear(3, 3, bias=False)],
        [nn.Linear(3, 3), nn.GELU()],
        [nn.Linear(3, 3), nn.Dropout()],
        [nn.LayerNorm(3), nn.Linear(3, 3)],
        [MyLinear(3, 3)],
    ],
)
def test_anything_else_is_no_chain(modules: list[nn.Module]) -> None:
    assert dense_chain(modules) is None


def test_a_layer_with_a_hook_is_no_chain() -> None:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, inputs, output: output * 2)
    assert dense_chain([layer]) is None
