"""Every family of timm is cut by one mechanism: what a cut promises holds for each of them."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models import build_model, create_backbone
from energytune.models.cut_plan import CutPlanner
from energytune.models.hook_cut import HookCut
from energytune.models.reinit import reinitialise, seeded
from tests.models.tiny_families import FAMILIES, build

STAGES = {"densenet121", "dla34"}
"""Nets whose blocks can't be parted; their depths count stages."""


@cache
def planned(name: str) -> tuple[nn.Module, CutPlanner]:
    """Returns a network in evaluation mode, disturbed so that no branch is scaled by zero."""
    net = seeded(lambda: build(name), 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return net, CutPlanner(net, shape(name))


def shape(name: str) -> tuple[int, int, int]:
    side, _ = FAMILIES[name]
    return 3, side, side


def images(name: str, n: int = 3) -> Tensor:
    return torch.randn(n, *shape(name), generator=torch.Generator().manual_seed(2))


def cut_copy(name: str, depth: int) -> tuple[nn.Module, HookCut]:
    net, planner = planned(name)
    twin = copy.deepcopy(net)
    return twin, HookCut(twin, planner.plan(depth))


def test_they_are_many_and_most_have_drop_path() -> None:
    nets = [build(name) for name in FAMILIES]
    assert len({type(net) for net in nets}) >= 35
    drops = [
        any(isinstance(part, DropPath) and part.drop_prob for part in net.modules()) for net in nets
    ]
    assert sum(drops) >= 35


@pytest.mark.parametrize("name", FAMILIES)
def test_resume_of_prefix_is_the_network_at_every_depth(name: str) -> None:
    net, planner = planned(name)
    x = images(name)
    assert planner.problem == ""
    assert planner.max_depth == planner.n_blocks >= 2
    assert planner.stages is (name in STAGES)
    with torch.no_grad():
        expected = net(x)
        for depth in {1, 2, 3, planner.max_depth} - {planner.max_depth + 1}:
            cut = HookCut(net, planner.plan(depth))
            z = cut.prefix(x)
            assert len(z) == len(x)
            assert torch.equal(cut.resume(z), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_training_the_tail_is_training_the_network(name: str) -> None:
    """Same outputs, gradients and BatchNorm statistics; the prefix is frozen and not random."""
    net, cut = cut_copy(name, 2)
    whole = copy.deepcopy(net)
    x = images(name)
    z_frozen = cut.prefix(x).detach()
    cut.train_tail(True)
    for path, part in net.named_modules():
        whole.get_submodule(path).training = part.training
    z = cut.prefix(x).detach()
    assert torch.equal(z, z_frozen)
    before = {path: buffer.clone() for path, buffer in net.named_buffers()}
    torch.manual_seed(7)
    output = cut.resume(z)
    torch.manual_seed(7)
    expected = whole(x)
    assert torch.equal(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    trained = {path for path, p in net.named_parameters() if path in cut.tail_state_names}
    assert trained
    for path in trained:
        grad, expected_grad = net.get_parameter(path).grad, whole.get_parameter(path).grad
        assert (grad is None) == (expected_grad is None)
        assert grad is None or torch.equal(grad, expected_grad)
    for path, buffer in whole.named_buffers():
        assert torch.equal(net.get_buffer(path), buffer)
        assert path in cut.tail_state_names or torch.equal(buffer, before[path])


@pytest.mark.parametrize("name", FAMILIES)
def test_reinitialising_changes_the_last_blocks_and_nothing_else(name: str) -> None:
    net, cut = cut_copy(name, 2)
    before = copy.deepcopy(net.state_dict())
    reinitialise(net, cut.tail_state_names, seed=5, fresh=lambda: build(name))
    source = seeded(lambda: build(name), 5).state_dict()
    for key, tensor in net.state_dict().items():
        wanted = source if key in cut.tail_state_names else before
        assert torch.equal(tensor, wanted[key])
    weights = [key for key, tensor in before.items() if tensor.ndim >= 2]
    changed = {key for key in weights if not torch.equal(net.state_dict()[key], before[key])}
    assert changed
    assert changed <= cut.tail_state_names


def tail_of(name: str, depth: int) -> set[str]:
    """Returns the parts of the tail by their first three names."""
    names = cut_copy(name, depth)[1].tail_state_names
    return {".".join(key.split(".")[:3]) for key in names}


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("resnet18", {"layer4.1"}),
        ("vit_tiny_patch16_224", {"blocks.2"}),
        ("swin_tiny_patch4_window7_224", {"layers.3.blocks"}),
        ("test_convnext", {"stages.3.blocks"}),
        ("test_efficientnet", {"blocks.4.0", "conv_head"}),
        ("densenet121", {"features.denseblock4"}),
        ("cait_xxs24_224", {"blocks.2", "blocks_token_only.0", "blocks_token_only.1"}),
        ("mixer", {"blocks.2"}),
        ("regnetx_002", {"s4.b7"}),
    ],
)
def test_depth_1_is_the_last_block(name: str, tail: set[str]) -> None:
    found = tail_of(name, 1)
    for part in tail:
        assert any(key.startswith(part) for key in found)
    blocks = ("layer", "blocks", "stages", "layers", "features.denseblock", "s4")
    others = {key for key in found if key.startswith(blocks)}
    assert all(any(key.startswith(part) for part in tail) for key in others)


def test_what_carries_a_list_is_refused_by_name() -> None:
    backbone = create_backbone("hrnet_w18_small", weights="none", input_shape=(3, 32, 32))
    assert backbone.max_reinit_depth == 0
    with pytest.raises(CutError, match=r"'hrnet_w18_small'.*is a list, no tensor.*got 1"):
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)


@pytest.mark.parametrize(
    ("name", "size", "options", "problem"),
    [
        (
            "tnt_s_patch16_224", 32,
            {"img_size": 32, "embed_dim": 24, "inner_dim": 8, "depth": 3, "num_heads_outer": 2},
            "the input of 'blocks.2' has 8 rows for 2 images",
        ),
        (
            "crossvit_tiny_240", 240,
            {"depth": ((1, 1, 0),), "embed_dim": (16, 16), "num_heads": (2, 2)},
            "the input of MultiScaleBlock at the cut is a list, no tensor",
        ),
    ],
)  # fmt: skip
def test_other_things_that_are_refused(
    name: str, size: int, options: dict[str, object], problem: str
) -> None:
    net = timm.create_model(name, num_classes=0, **options).eval()
    planner = CutPlanner(net, (3, size, size))
    assert planner.max_depth == 0
    assert planner.problem == problem


def pit() -> tuple[nn.Module, CutPlanner]:
    """Returns a network whose stages hand on tuples, and its planner."""
    options = {"base_dims": (8, 8, 8), "depth": (1, 1, 2), "heads": (1, 2, 4), "img_size": 64}
    net = timm.create_model("pit_ti_224", num_classes=0, **options).eval()
    return net, CutPlanner(net, (3, 64, 64))


def test_nets_that_count_their_images_at_the_start() -> None:
    net, planner = pit()
    assert planner.plan(1).batch_bound
    cut = HookCut(net, planner.plan(1))
    x = torch.randn(4, 3, 64, 64)
    for n_images in (1, 2, 3, 4, 3, 1):  # more sizes than are kept on record
        # gradients on: without them attention runs other kernels, equal only up to rounding
        z = cut.prefix(x[:n_images])
        assert torch.equal(cut.resume(z), net(x[:n_images]))


def test_most_nets_do_not_count_their_images() -> None:
    names = ("resnet18", "beit_base_patch16_224", "metaformer", "cait_xxs24_224")
    assert not any(planned(name)[1].plan(1).batch_bound for name in names)


def test_a_depth_that_cannot_be_cut_between_two_that_can() -> None:
    net, planner = pit()
    x = torch.randn(2, 3, 64, 64)
    cut = HookCut(net, planner.plan(1))
    with torch.no_grad():
        assert torch.equal(cut.resume(cut.prefix(x)), net(x))
    with pytest.raises(CutError, match="is a tuple, no tensor"):
        planner.plan(2)
