"""Every format of the field: all tensors, or a refusal that leaves the network as it was."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from energytune.errors import CheckpointError
from energytune.models import load_checkpoint, weights_sha256
from tests.models.checkpoint_layouts import LAYOUTS
from tests.models.checkpoint_makers import State, bottleneck, resnet, save, under, vit


@pytest.fixture(params=LAYOUTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.no_grad()
def test_all_tensors_are_loaded(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    source, decoy, target = (layout.net(seed) for seed in (1, 2, 3))
    content = layout.build(source.state_dict(), decoy.state_dict())
    file = save(content, tmp_path / "checkpoint.pth", legacy=len(name) % 2 == 0)
    info = load_checkpoint(file, target)
    for key, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[key]), key
    assert info.n_loaded == info.n_total == len(target.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(target(images), source(images))
    assert (info.prefix, info.kind) == (layout.prefix, layout.kind)
    assert info.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert json.loads(json.dumps(info.to_dict())) == info.to_dict()


def without_one(state: State) -> State:
    return {n: t for n, t in state.items() if not n.endswith(("4.1.bn2.bias", "1.norm2.bias"))}


def with_another_shape(state: State) -> State:
    name = next(n for n in reversed(state) if n.endswith(("4.1.bn2.bias", "1.norm2.bias")))
    return state | {name: torch.zeros(5)}


@pytest.mark.parametrize(
    ("damage", "told"),
    [(without_one, r"Missing are 1"), (with_another_shape, r"Of another shape or type are 1")],
)
def test_one_tensor_decides(
    tmp_path: Path, name: str, damage: Callable[[State], State], told: str
) -> None:
    layout = LAYOUTS[name]
    states = [damage(layout.net(seed).state_dict()) for seed in (1, 2)]
    content = layout.build(*states)
    assert told in refused(tmp_path, content, layout.net(3))


def refused(tmp_path: Path, content: Any, target: nn.Module, prefix: str | None = None) -> str:
    """Returns the message of the refusal, after checking that nothing was changed."""
    file = save(content, tmp_path / "checkpoint.pth")
    before = weights_sha256(target)
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(file, target, prefix)
    assert weights_sha256(target) == before
    return str(refusal.value)


@pytest.mark.parametrize("name", ["MoCo v2", "MoCo v3", "BYOL", "solo-learn", "lightly", "VISSL"])
def test_a_damaged_network_is_not_replaced_by_its_momentum_twin(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    source = without_one(layout.net(1).state_dict())
    text = refused(tmp_path, layout.build(source, layout.net(2).state_dict()), layout.net(3))
    assert "names a momentum or target network" in text
    assert f"{layout.prefix!r} with " in text


@pytest.mark.parametrize("name", ["DINO: full", "timm: training"])
def test_a_damaged_network_is_replaced_by_the_next_with_a_warning(
    tmp_path: Path, name: str
) -> None:
    layout = LAYOUTS[name]
    target, other = layout.net(3), layout.net(2)
    content = layout.build(without_one(layout.net(1).state_dict()), other.state_dict())
    file = save(content, tmp_path / "checkpoint.pth")
    with pytest.warns(UserWarning, match="which would come first, lacks 1 tensors"):
        load_checkpoint(file, target)
    assert weights_sha256(target) == weights_sha256(other)


def test_two_networks_that_nothing_tells_apart(tmp_path: Path) -> None:
    source, other, target = resnet(1), resnet(2), resnet(3)
    content = {"model": source.state_dict(), "best": other.state_dict()}
    text = refused(tmp_path, content, target)
    assert "holds 2 networks that all fit the backbone and differ: 'best.', 'model.'" in text
    info = load_checkpoint(tmp_path / "checkpoint.pth", target, prefix="model")
    assert info.prefix == "model."
    assert weights_sha256(target) == weights_sha256(source)
    same = {"model": source.state_dict(), "best": resnet(1).state_dict()}
    load_checkpoint(save(same, tmp_path / "same.pth"), target)


def test_a_deeper_network_fits_and_is_refused(tmp_path: Path) -> None:
    """All of a ResNet18 is in a ResNet34, in the same shapes, and computes something else."""
    text = refused(tmp_path, resnet(1, "resnet34").state_dict(), resnet(3))
    assert "weights more in the same layers" in text
    assert "layer1.2." in text
    assert "a ResNet of 3-4-6-3 basic blocks" in text
    deeper = timm.create_model("test_vit", img_size=32, num_classes=0, depth=3)
    text = refused(tmp_path, {"teacher": under("backbone.", deeper.state_dict())}, vit(3))
    assert "weights more in the same layers" in text


@pytest.mark.parametrize("extra", ["layer1.0.se.fc1.weight", "conv1.bias", "module.layer2.1.gamma"])
def test_more_weights_within_a_layer_are_refused(tmp_path: Path, extra: str) -> None:
    content = {"state_dict": resnet(1).state_dict() | {extra: torch.ones(4)}}
    wanted = not extra.startswith("module.")
    if wanted:
        assert extra in refused(tmp_path, content, resnet(3))
    else:  # under another prefix: another network
        load_checkpoint(save(content, tmp_path / "checkpoint.pth"), resnet(3))


@pytest.mark.parametrize("extra", ["register_tokens", "norm_pre.weight", "blocks.0.ls1.gamma"])
def test_what_a_vision_transformer_needs_beside_its_blocks(tmp_path: Path, extra: str) -> None:
    content = {"model": vit(1).state_dict() | {extra: torch.ones(64)}}
    assert extra in refused(tmp_path, content, vit(3))


def test_what_older_files_carry_is_no_reason(tmp_path: Path) -> None:
    """Buffers that timm does not save any more, DINOv2's mask, counters."""
    torch.manual_seed(0)
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=224,
        embed_dim=8, depths=(2, 2, 1, 1), num_heads=(1, 1, 2, 2))  # fmt: skip
    buffers = {n: b for n, b in swin.named_buffers() if n not in swin.state_dict()}
    assert any(n.endswith("attn_mask") for n in buffers)
    load_checkpoint(save({"model": swin.state_dict() | buffers}, tmp_path / "swin.pth"), swin)
    content = vit(1).state_dict() | {"mask_token": torch.ones(1, 64), "blocks.9.n": torch.tensor(3)}
    load_checkpoint(save(content, tmp_path / "vit.pth"), vit(3))


@pytest.mark.filterwarnings("ignore:All BatchNorm variances")
def test_a_classifier_that_was_taken_out(tmp_path: Path) -> None:
    for name in ("convnext_atto", "vit_tiny_patch16_224", "regnetx_002"):
        whole = timm.create_model(name)
        target = timm.create_model(name, num_classes=0)
        info = load_checkpoint(save(whole.state_dict(), tmp_path / "checkpoint.pth"), target)
        assert info.n_loaded == info.n_total


def test_a_larger_resnet(tmp_path: Path) -> None:
    content = {"state_dict": under("module.encoder_q.", resnet(1, "resnet50").state_dict())}
    text = refused(tmp_path, content, resnet(3))
    assert "layer1.0.conv1.weight is 4x64x1x1 in the file, 4x64x3x3 in the backbone" in text
    assert "a ResNet of 3-4-6-3 bottleneck blocks" in text
    assert "under the prefix 'state_dict.module.encoder_q.'" in text


def test_torchvision_vision_transformer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 16, 1, 2, 768, 8)
    text = refused(tmp_path, net.state_dict(), vit(3))
    assert "torchvision's vision transformer of width 768" in text
    assert "--backbone torchvision/vit_b_16" in text


def test_hugging_face_vision_transformer(tmp_path: Path) -> None:
    content = {"vit.encoder.layer.0.attention.attention.query.weight": torch.ones(4, 4)}
    assert "of Hugging Face's transformers" in refused(tmp_path, content, vit(3))


def moco_vit(seed: int, n_heads: int) -> nn.Module:
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(
        "vit_small_patch16_224", img_size=32, num_classes=0, depth=1, num_heads=n_heads
    )
    return net


@pytest.mark.parametrize("name", ["MoCo v3: ViT", "solo-learn: ViT", "mmselfsup: ViT"])
def test_moco_v3_has_more_attention_heads_than_timm(tmp_path: Path, name: str) -> None:
    """All shapes fit and the network computes something else."""
    layout = LAYOUTS[name]
    state = moco_vit(1, 12).state_dict()
    state["pos_embed"][0, 0] = 0
    content = layout.build(state, moco_vit(2, 12).state_dict())
    text = refused(tmp_path, content, moco_vit(3, 6))
    assert "12 attention heads; this backbone has 6" in text
    target = moco_vit(3, 12)
    load_checkpoint(tmp_path / "checkpoint.pth", target)
    assert torch.equal(target.state_dict()["norm.weight"], state["norm.weight"])
    prefixed = load_checkpoint(tmp_path / "checkpoint.pth", moco_vit(3, 6), layout.prefix)
    assert prefixed.n_loaded == prefixed.n_total


def test_other_small_vision_transformers_keep_their_heads(tmp_path: Path) -> None:
    content = LAYOUTS["DINO: full"].build(moco_vit(1, 6).state_dict(), moco_vit(2, 6).state_dict())
    load_checkpoint(save(content, tmp_path / "checkpoint.pth"), moco_vit(3, 6))


@pytest.mark.parametrize(
    "changed",
    [
        torch.zeros(8, dtype=torch.int8),
        torch.ones(8).to_sparse(),
        torch.empty(8, device="meta"),
        torch.ones(8, dtype=torch.complex64),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_weights_of_another_type_are_no_weights(tmp_path: Path, changed: torch.Tensor) -> None:
    content = resnet(1).state_dict() | {"layer4.1.bn2.bias": changed}
    text = refused(tmp_path, content, resnet(3))
    assert "Of another shape or type are 1: layer4.1.bn2.bias" in text


def test_prefix_overrides_the_preference(tmp_path: Path) -> None:
    layout = LAYOUTS["DINO: full"]
    student, target = vit(2), vit(3)
    content = layout.build(vit(1).state_dict(), student.state_dict())
    file = save(content, tmp_path / "checkpoint.pth")
    info = load_checkpoint(file, target, prefix="student.module.backbone")
    assert weights_sha256(target) == weights_sha256(student)
    assert info.kind == "DINO (student)"
    text = refused(tmp_path, content, target, prefix="nothing")
    assert "0 of" in text
    assert "'teacher.backbone.' with" in text


def test_no_warning_where_all_is_well(tmp_path: Path) -> None:
    layout = LAYOUTS["DINO: full, ResNet"]
    content = layout.build(bottleneck(1).state_dict(), bottleneck(2).state_dict())
    file = save(content, tmp_path / "checkpoint.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(file, bottleneck(3))
