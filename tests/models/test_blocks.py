from __future__ import annotations

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

from energytune.errors import CutError
from energytune.models.blocks import block_layout

NETS = {
    "resnet18": 8,
    "resnet50": 16,
    "test_vit": 6,
    "test_convnext": 9,
    "test_efficientnet": 5,
    "mobilenetv3_small_050": 12,
    "test_nfnet": 4,
    "test_mambaout": 6,
}


@pytest.mark.parametrize("name", NETS)
def test_groups_are_those_of_timm(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    layout = block_layout(net)
    assert layout.group_of == group_parameters(net, net.group_matcher(coarse=False), reverse=True)
    assert len(layout.blocks) == NETS[name]


def test_trailing_groups_count_for_nothing() -> None:
    with torch.device("meta"):
        net = timm.create_model("mobilenetv3_small_050", num_classes=0)
    layout = block_layout(net)
    assert layout.first_group("conv_head") > layout.blocks[-1]
    assert layout.first_group("conv_stem") < layout.blocks[0]


def test_a_norm_of_its_own_is_no_block() -> None:
    with torch.device("meta"):
        net = timm.create_model("vgg11_bn", num_classes=0)
    layout = block_layout(net)
    holders = {n for n, group in layout.group_of.items() if group in layout.blocks}
    n_convolutions = sum(isinstance(part, nn.Conv2d) for part in net.features)
    assert len(layout.blocks) == n_convolutions - 1  # the first one is the stem
    assert all(net.get_parameter(name).ndim == 4 for name in holders if name.endswith("weight"))


def test_torchvision_resnet() -> None:
    import torchvision

    with torch.device("meta"):
        net = torchvision.models.resnet18()
    layout = block_layout(net)
    assert len(layout.blocks) == 8
    assert layout.first_group("fc") > layout.blocks[-1]
    assert layout.span("layer4") == (layout.blocks[-2], layout.blocks[-1])


def test_a_module_that_tells_no_blocks() -> None:
    with pytest.raises(CutError, match="Linear does not tell what its blocks are"):
        block_layout(nn.Linear(2, 2))


def test_function_as_matcher() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b, self.neck = (nn.Linear(2, 2) for _ in range(4))

        def group_matcher(self, coarse: bool) -> object:
            places = {"stem": 0, "a": 1, "b": 2}
            return lambda name: places.get(name.split(".")[0], float("inf"))

    layout = block_layout(Net())
    assert layout.blocks == (1, 2)
    assert layout.span("") == (0, 3)
    assert layout.first_group("no.such.path") == 0
