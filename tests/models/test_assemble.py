from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from energytune.errors import CheckpointError, ConfigError, CutError
from energytune.models import (
    Backbone,
    TaskModel,
    build_model,
    create_backbone,
    rebuild_model,
    weights_sha256,
)


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 64, generator=torch.Generator().manual_seed(1))


def model(backbone: Backbone, depth: int = 1, head: str = "linear", seed: int = 0) -> TaskModel:
    return build_model(backbone, head_arch=head, n_outputs=10, reinit_depth=depth, seed=seed)


@pytest.mark.parametrize("depth", range(5))
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_features_then_from_features_is_the_forward(mlp: Backbone, depth: int, head: str) -> None:
    net = model(mlp, depth, head)
    z = net.features(images())
    assert torch.equal(net.from_features(z), net(images()))
    assert z.shape == ((6, 64) if depth == 4 else (6, 128))


def test_depth_0_keeps_the_backbone_and_depth_k_only_its_first_blocks(mlp: Backbone) -> None:
    for depth in range(5):
        state = model(mlp, depth).backbone.state_dict()
        kept = [torch.equal(state[name], own) for name, own in mlp.module.state_dict().items()]
        n_kept = 2 * (4 - depth)
        assert kept == [True] * n_kept + [False] * (8 - n_kept)


def test_same_seed_same_bits_and_the_head_does_not_depend_on_depth(mlp: Backbone) -> None:
    one, again, other = model(mlp, 2, seed=1), model(mlp, 2, seed=1), model(mlp, 2, seed=2)
    assert weights_sha256(one) == weights_sha256(again) != weights_sha256(other)
    assert torch.equal(one.head.weight, model(mlp, 0, seed=1).head.weight)


def test_the_backbone_is_not_changed_by_training_a_model(mlp: Backbone) -> None:
    net = model(mlp, 1)
    net(images()).square().sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert weights_sha256(mlp.module) == mlp.weights_sha256
    assert weights_sha256(net.backbone) != mlp.weights_sha256


@pytest.mark.parametrize("depth", range(4))
def test_probing_changes_the_head_side_only(mlp: Backbone, depth: int) -> None:
    net = model(mlp, depth)
    before = copy.deepcopy(net.state_dict())
    head_side = net.head_side_state()
    with torch.no_grad():
        z = net.features(images())
    optimizer = torch.optim.SGD(net.head_side_parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net.from_features(z).square().sum().backward()
        optimizer.step()
    changed = {name for name, t in net.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == set(head_side)
    assert len(net.head_side_parameters()) == len(head_side) == 2 + 2 * depth


def test_head_side_state_refers_and_loads_back(mlp: Backbone) -> None:
    one, other = model(mlp, 1, seed=1), model(mlp, 1, seed=2)
    state = one.head_side_state()
    assert state["head.weight"].data_ptr() == one.head.weight.data_ptr()
    other.load_head_side_state(state)
    assert torch.equal(one(images()), other(images()))
    assert other.head.weight.data_ptr() != one.head.weight.data_ptr()


def test_a_state_of_another_model_is_refused_and_nothing_changes(mlp: Backbone) -> None:
    net = model(mlp, 1)
    before = weights_sha256(net)
    for wrong in (model(mlp, 2), model(mlp, 1, head="mlp")):
        with pytest.raises(CheckpointError, match="does not belong to this model"):
            net.load_head_side_state(wrong.head_side_state())
    assert weights_sha256(net) == before


def test_head_norm_is_that_of_all_head_side_parameters(mlp: Backbone) -> None:
    net = model(mlp, 2, "mlp")
    flat = torch.cat([p.detach().flatten() for p in net.head_side_parameters()])
    assert net.head_norm() == pytest.approx(float(flat.norm()), rel=1e-6)


def test_probe_mode(mlp: Backbone) -> None:
    net = model(mlp, 2)
    net.train()
    net.set_probe_mode(True)
    assert [block.training for block in net.backbone.blocks] == [False, False, True, True]
    assert net.head.training
    net.set_probe_mode(False)
    assert not any(part.training for part in net.modules())


def test_spec_is_json_and_rebuilds_the_architecture(mlp: Backbone) -> None:
    net = model(mlp, 2, "mlp", seed=9)
    again = rebuild_model(json.loads(json.dumps(net.spec())))
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(images()), net(images()))
    assert torch.equal(again.features(images()), net.features(images()))


def test_a_deep_copy_is_independent(mlp: Backbone) -> None:
    net = model(mlp, 2)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.backbone.blocks[3].weight.zero_()
    assert torch.equal(net.from_features(net.features(images())), net(images()))
    assert torch.equal(twin.from_features(twin.features(images())), twin(images()))
    assert not torch.equal(twin(images()), net(images()))


def memory(net: nn.Module) -> dict[str, int]:
    """Returns where every parameter and buffer lies."""
    return {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}


def shared(backbone: Backbone, depth: int, seed: int = 0) -> TaskModel:
    return build_model(
        backbone, head_arch="linear", n_outputs=3, reinit_depth=depth, seed=seed, share_prefix=True
    )


@pytest.mark.parametrize("name", ["digits-mlp", "test_efficientnet"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_shared_prefix_lies_where_the_backbone_lies(name: str, depth: int) -> None:
    shape = None if name == "digits-mlp" else (3, 32, 32)
    backbone = create_backbone(name, weights="none", input_shape=shape)
    net = shared(backbone, depth)
    own = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=depth, seed=0)
    tail = {name.removeprefix("backbone.") for name in net.head_side_state()}
    theirs, original = memory(net.backbone), memory(backbone.module)
    assert {n for n, place in theirs.items() if place != original[n]} == tail - {
        "head.weight",
        "head.bias",
    }
    x = torch.randn(4, *backbone.input_shape)
    assert weights_sha256(net) == weights_sha256(own)
    assert torch.equal(net.from_features(net.features(x)), own(x))


def test_probing_and_training_leave_a_shared_prefix_as_it_was() -> None:
    backbone = create_backbone("test_efficientnet", weights="none", input_shape=(3, 32, 32))
    nets = [shared(backbone, depth, seed) for depth, seed in ((1, 0), (1, 1), (2, 0))]
    x = torch.randn(4, 3, 32, 32)
    for net in nets:
        net.train()  # even so BatchNorm of the prefix keeps its statistics
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
        net(x).square().sum().backward()
        optimizer.step()
    assert weights_sha256(backbone.module) == backbone.weights_sha256
    assert len({weights_sha256(net) for net in nets}) == 3
    tails = {name for net in nets[:2] for name in net.head_side_state()}
    unchanged = {
        n for n, t in nets[0].state_dict().items() if torch.equal(t, nets[1].state_dict()[n])
    }
    assert unchanged.isdisjoint(name for name in tails if name.endswith("conv_pw.weight"))
    assert all(p.requires_grad for p in backbone.module.parameters())


def test_a_shared_prefix_is_not_loaded_into(mlp: Backbone) -> None:
    net = shared(mlp, 1)
    with pytest.raises(ConfigError, match=r"share_prefix = True.*load_head_side_state"):
        net.load_state_dict(shared(mlp, 1, seed=2).state_dict())
    net.load_head_side_state(shared(mlp, 1, seed=2).head_side_state())
    assert weights_sha256(mlp.module) == mlp.weights_sha256


def test_moving_a_model_leaves_the_backbone_where_it_is(mlp: Backbone) -> None:
    net = shared(mlp, 1).to(torch.float64)
    assert net.backbone.blocks[0].weight.dtype == torch.float64
    assert weights_sha256(mlp.module) == mlp.weights_sha256


def test_a_backbone_on_another_device_is_cut_alike() -> None:
    backbone = create_backbone("test_efficientnet", weights="none", input_shape=(3, 32, 32))
    there = backbone.on(torch.device("meta"))
    assert {p.device.type for p in there.module.parameters()} == {"meta"}
    assert there.max_reinit_depth == backbone.max_reinit_depth == 5
    names = [b.cut(b.module, 2).tail_state_names for b in (backbone, there)]
    assert names[0] == names[1]
    assert {p.device.type for p in backbone.module.parameters()} == {"cpu"}


@pytest.mark.parametrize("depth", [-1, 5])
def test_depth_out_of_range(mlp: Backbone, depth: int) -> None:
    with pytest.raises(CutError, match=rf"'digits-mlp' must lie in \[0, 4\], got {depth}"):
        model(mlp, depth)


def test_incomplete_spec_and_own_module_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lacks.*n_outputs"):
        rebuild_model({"backbone": "digits-mlp", "head_arch": "linear"})
    own = create_backbone(nn.Sequential(nn.Flatten(), nn.Linear(8, 4)), input_shape=(2, 4))
    with pytest.raises(ConfigError, match="your own module"):
        rebuild_model(model(own, 0).spec())
