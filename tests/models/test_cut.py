from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import timm
import torch
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models.cut import Cut, SequentialCut
from energytune.models.cut_plan import CutPlanner
from energytune.models.embedded import EMBEDDED_BACKBONES
from energytune.models.hook_cut import HookCut

NETS = {
    "resnet18": (64, {"drop_path_rate": 0.5}),
    "test_vit": (160, {"drop_path_rate": 0.5, "proj_drop_rate": 0.3}),
    "test_convnext": (64, {"drop_path_rate": 0.5}),
    "test_efficientnet": (64, {"drop_path_rate": 0.5}),
    "mobilenetv3_small_050": (64, {"drop_path_rate": 0.5, "drop_rate": 0.3}),
    "digits-mlp": (0, {}),
    "digits-cnn": (0, {}),
}


@cache
def plan(name: str) -> tuple[nn.Module, CutPlanner]:
    size, options = NETS[name]
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0, **options).eval()
    # fresh residual branches are scaled by 0 and would hide mistakes
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return net, CutPlanner(net, (3, size, size))


def build(name: str) -> tuple[nn.Module, Callable[[int], Cut], Tensor]:
    """Returns a network, a function that cuts it, and inputs."""
    generator = torch.Generator().manual_seed(1)
    if name in EMBEDDED_BACKBONES:
        torch.manual_seed(0)
        own = EMBEDDED_BACKBONES[name]()
        return own, lambda depth: SequentialCut(own, depth), torch.randn(4, 64, generator=generator)
    original, planner = plan(name)
    net = copy.deepcopy(original)
    size, _ = NETS[name]
    images = torch.randn(4, 3, size, size, generator=generator)
    return net, lambda depth: HookCut(net, planner.plan(depth)), images


@pytest.mark.parametrize("name", NETS)
def test_resume_of_prefix_is_the_network(name: str) -> None:
    net, cut_at, x = build(name)
    net.eval()
    with torch.no_grad():
        expected = net(x)
        for depth in (1, 2, 3):
            cut = cut_at(depth)
            assert torch.equal(cut.resume(cut.prefix(x)), expected)
            assert torch.equal(net(x), expected)


@pytest.mark.parametrize("name", NETS)
def test_stored_features_do_not_meet_another_image(name: str) -> None:
    net, cut_at, x = build(name)
    net.eval()
    cut = cut_at(2)
    with torch.no_grad():
        expected = net(x)
        stored = cut.prefix(x).clone()
        kept = stored.clone()
        cut.resume(cut.prefix(torch.flip(x, [0]) * 3))
        assert torch.equal(cut.resume(stored), expected)
        torch.testing.assert_close(cut.resume(stored[1:3]), net(x[1:3]))
        assert torch.equal(stored, kept)


@pytest.mark.parametrize("name", NETS)
def test_training_the_tail_is_training_the_network(name: str) -> None:
    """Same outputs, gradients and BatchNorm statistics, with drop path and dropout at work."""
    net, cut_at, x = build(name)
    whole = copy.deepcopy(net)
    cut = cut_at(2)
    cut.train_tail(True)
    modes = {path: part.training for path, part in net.named_modules()}
    for path, part in whole.named_modules():
        part.training = modes[path]
    # gradients on here too: attention without them runs kernels that differ by rounding
    z = cut.prefix(x).detach()
    torch.manual_seed(7)
    output = cut.resume(z)
    torch.manual_seed(7)
    expected = whole(x)
    assert torch.equal(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    reached = {n for n, p in net.named_parameters() if p.grad is not None}
    assert reached
    assert reached <= cut.tail_state_names
    for path, parameter in whole.named_parameters():
        if path in cut.tail_state_names and parameter.grad is not None:
            assert torch.equal(net.get_parameter(path).grad, parameter.grad)
    for path, buffer in whole.named_buffers():
        assert torch.equal(net.get_buffer(path), buffer)


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_the_test_above_has_randomness_to_miss(name: str) -> None:
    _, cut_at, x = build(name)
    cut = cut_at(2)
    cut.train_tail(True)
    with torch.no_grad():
        z = cut.prefix(x)
        torch.manual_seed(7)
        one = cut.resume(z)
        torch.manual_seed(8)
        assert not torch.equal(cut.resume(z), one)
        assert torch.equal(cut.prefix(x), z)


@pytest.mark.parametrize("name", NETS)
def test_probing_leaves_the_prefix_bit_equal(name: str) -> None:
    net, cut_at, x = build(name)
    cut = cut_at(1)
    before = copy.deepcopy(net.state_dict())
    cut.train_tail(True)
    with torch.no_grad():
        z = cut.prefix(x)
    tail = [p for n, p in net.named_parameters() if n in cut.tail_state_names]
    optimizer = torch.optim.SGD(tail, lr=0.1)
    cut.resume(z).square().mean().backward()
    optimizer.step()
    changed = {n for n, t in net.state_dict().items() if not torch.equal(t, before[n])}
    assert changed
    assert changed <= cut.tail_state_names


def test_no_hook_and_no_stub_stays() -> None:
    net, cut_at, x = build("test_efficientnet")
    cut = cut_at(2)
    cut.resume(cut.prefix(x))
    assert not any("forward" in vars(part) for part in net.modules())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in net.modules())


def test_a_failing_tail_leaves_no_stub() -> None:
    net, cut_at, x = build("test_efficientnet")
    cut = cut_at(1)
    expected = net(x)
    cut.prefix(x[..., :32, :32])
    with pytest.raises(CutError, match="one of the shapes"):
        cut.resume(torch.zeros(2, 1, 1))
    with pytest.raises(RuntimeError):
        cut.resume(cut.prefix(x).double())
    assert torch.equal(net(x), expected)


def test_the_tail_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    net, cut_at, x = build("resnet18")
    cut = cut_at(1)
    z = cut.prefix(x)
    batches: list[int] = []

    def counting(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def convolve_and_count(x: Tensor, *args: Tensor) -> Tensor:
            batches.append(len(x))
            return convolve(x, *args)

        return convolve_and_count

    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            monkeypatch.setattr(part, "_conv_forward", counting(part._conv_forward))
    cut.resume(z)
    assert batches == [4, 4]  # the two convolutions of layer4.1, and no other


def test_other_image_sizes_are_learnt_from_the_prefix() -> None:
    net, cut_at, x = build("resnet18")
    net.eval()
    cut = cut_at(2)
    small = x[..., :32, :32]
    with torch.no_grad():
        assert torch.equal(cut.resume(cut.prefix(small)), net(small))


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(1, {"4.2"}), (2, {"4.1", "4.2"}), (3, {"4.0", "4.1", "4.2"})],
)
def test_depth_of_resnet50_counts_residual_blocks(depth: int, blocks: set[str]) -> None:
    from energytune.models.blocks import block_layout
    from energytune.models.cut_plan import tail_state_names

    with torch.device("meta"):
        net = timm.create_model("resnet50", num_classes=0)
    layout = block_layout(net)
    names = tail_state_names(net, layout, layout.blocks[-depth])
    assert {name[len("layer") :][:3] for name in names} == blocks
    assert {f"layer{b}.bn1.running_mean" for b in blocks} <= names


def test_depths_of_resnet18_go_on_into_layer3() -> None:
    _, cut_at, _ = build("resnet18")
    tails = [{n[:8] for n in cut_at(depth).tail_state_names} for depth in (1, 2, 3)]
    assert tails == [
        {"layer4.1"},
        {"layer4.0", "layer4.1"},
        {"layer3.1", "layer4.0", "layer4.1"},
    ]


def test_trailing_parts_train_with_the_tail() -> None:
    net, cut_at, _ = build("mobilenetv3_small_050")
    cut = cut_at(1)
    cut.train_tail(True)
    assert "conv_head.weight" in cut.tail_state_names
    modes = {path: part.training for path, part in net.named_modules()}
    assert modes["conv_head"]
    assert modes["blocks.5"]
    assert not modes["bn1"]
    assert not any(modes[path] for path in modes if path.startswith("blocks.4"))
