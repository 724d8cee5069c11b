from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from energytune.errors import ConfigError, CutError, MissingDataError, UnknownNameError
from energytune.models import (
    Backbone,
    build_model,
    create_backbone,
    list_backbones,
    rebuild_model,
    weights_sha256,
)
from energytune.models.blocks import block_layout
from energytune.models.cut_plan import tail_state_names
from energytune.models.reinit import seeded
from energytune.models.torchvision_backbones import build_torchvision

BLOCKS = {
    "alexnet": 4,
    "convnext_tiny": 18,
    "densenet121": 58,
    "efficientnet_b0": 16,
    "efficientnet_v2_s": 40,
    "googlenet": 9,
    "inception_v3": 11,
    "maxvit_t": 11,
    "mnasnet0_5": 16,
    "mobilenet_v2": 17,
    "mobilenet_v3_small": 11,
    "regnet_x_400mf": 22,
    "resnet50": 16,
    "resnext50_32x4d": 16,
    "shufflenet_v2_x0_5": 16,
    "squeezenet1_1": 8,
    "swin_t": 12,
    "swin_v2_t": 12,
    "vgg11_bn": 7,
    "vit_b_32": 12,
    "wide_resnet50_2": 16,
}


OWN = {
    "convnext": (
        32,
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 1),
                          CNBlockConfig(24, 32, 1), CNBlockConfig(32, None, 2)],
                         stochastic_depth_prob=0.5),
    ),
    "maxvit": (
        64,
        lambda: MaxVit(input_size=(64, 64), stem_channels=8, partition_size=2,
                       block_channels=[8, 8, 16, 16], block_layers=[1, 1, 1, 1], head_dim=4,
                       stochastic_depth_prob=0.5),
    ),
    "swin": (
        32,
        lambda: SwinTransformer([4, 4], 8, [1, 1, 2, 2], [1, 1, 2, 2], [2, 2],
                                stochastic_depth_prob=0.5),
    ),
    "vit": (32, lambda: VisionTransformer(32, 8, 3, 2, 24, 48, dropout=0.3)),
}  # fmt: skip


def create(name: str, seed: int = 0, **options: Any) -> Backbone:
    options.setdefault("input_shape", (3, 32, 32))
    return create_backbone(f"torchvision/{name}", weights="none", seed=seed, **options)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and an empty download cache in the returned folder."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_every_family(name: str) -> None:
    # RegNet computes its widths with tensors, so it can't be built without memory
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        net = build_torchvision(f"torchvision/{name}", (3, 224, 224))
    layout = block_layout(net)
    assert len(layout.blocks) == BLOCKS[name]
    last = {n for n, group in layout.group_of.items() if group >= layout.blocks[-1]}
    first = {n for n, group in layout.group_of.items() if group < layout.blocks[0]}
    assert list(layout.group_of)[-1] in last
    assert next(iter(layout.group_of)) in first | {"encoder.ln.weight"}


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"])
def test_named_models_are_cut(name: str) -> None:
    backbone = create(name)
    assert (backbone.name, backbone.cut_problem) == (f"torchvision/{name}", "")
    x = torch.randn(3, 3, 32, 32)
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=2, seed=0)
    with torch.no_grad():
        assert torch.equal(net.from_features(net.features(x)), net(x))
    assert net.train()(x).shape == (3, 3)
    again = rebuild_model(net.spec())
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(x), net.eval()(x))


@pytest.mark.parametrize("name", OWN)
def test_own_modules_of_its_classes_are_cut(name: str) -> None:
    side, make = OWN[name]
    backbone = create_backbone(seeded(make, 0), input_shape=(3, side, side))
    assert backbone.cut_problem == ""
    module = backbone.module
    x = torch.randn(3, 3, side, side)
    for depth in (1, 2):
        cut = backbone.cut(module, depth)
        with torch.no_grad():
            assert torch.equal(cut.resume(cut.prefix(x)), module(x))


@pytest.mark.parametrize(("depth", "first"), [(1, 2), (2, 1), (3, 0)])
def test_depth_of_resnet50_counts_residual_blocks(depth: int, first: int) -> None:
    with torch.device("meta"):
        net = build_torchvision("torchvision/resnet50", (3, 224, 224))
    layout = block_layout(net)
    names = tail_state_names(net, layout, layout.blocks[-depth])
    assert {name[:8] for name in names} == {f"layer4.{block}" for block in range(first, 3)}


def test_the_classifier_is_taken_out_and_the_input_described() -> None:
    one, again, other = (create("resnet18", seed) for seed in (1, 1, 2))
    assert one.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert one.n_features == 512
    assert not any(name.startswith("fc") for name in one.module.state_dict())
    config = one.input_config
    assert config is not None
    assert (config.size, config.mean) == ((3, 32, 32), (0.485, 0.456, 0.406))
    assert (config.interpolation, config.crop_pct) == ("bilinear", 224 / 256)
    usual = create_backbone("torchvision/mobilenet_v3_small", weights="none")
    assert usual.input_shape == (3, 224, 224)
    tagged = create_backbone("torchvision/resnet18.IMAGENET1K_V1", weights="none")
    assert tagged.name == "torchvision/resnet18.IMAGENET1K_V1"


@pytest.mark.parametrize("with_classifier", [True, False])
def test_own_resnet_is_reinitialised_as_torchvision_does(with_classifier: bool) -> None:
    own = torchvision.models.resnet18(num_classes=7)
    if not with_classifier:
        own.fc = nn.Identity()
    backbone = create_backbone(own, input_shape=(3, 32, 32))
    assert backbone.n_features == (7 if with_classifier else 512)
    assert backbone.max_reinit_depth == 8
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    weight = net.backbone.layer4[1].conv2.weight.detach()
    assert float(weight.std()) == pytest.approx(
        (2 / (512 * 9)) ** 0.5, rel=0.01
    )  # Kaiming, fan-out
    kept = net.backbone.layer4[0].conv2.weight
    assert torch.equal(kept, own.layer4[0].conv2.weight)


def test_own_timm_module_is_reinitialised_as_timm_does() -> None:
    import timm

    own = timm.create_model("test_vit", num_classes=5)
    backbone = create_backbone(own, input_shape=(3, 160, 160))
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    assert float(net.backbone.blocks[5].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, 0.1)


def test_auxiliary_heads_of_an_own_googlenet_go() -> None:
    own = torchvision.models.googlenet(aux_logits=True, init_weights=False)
    backbone = create_backbone(own, input_shape=(3, 32, 32))
    assert own.aux1 is not None
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    assert net.train()(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert not any("aux" in name for name in net.state_dict())


def test_an_unknown_own_layout_is_refused_by_name() -> None:
    own = nn.Sequential(torchvision.models.resnet18(), nn.Linear(1000, 4))
    backbone = create_backbone(own, input_shape=(3, 32, 32))
    with pytest.raises(CutError, match=r"'custom:Sequential'.*does not tell what its blocks are"):
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)


def test_offline_without_weights_says_what_to_do(offline: Path) -> None:
    with pytest.raises(MissingDataError) as told:
        create_backbone("torchvision/resnet18")
    text = str(told.value)
    assert "'torchvision/resnet18'" in text
    assert "Network is unreachable" in text
    assert "--checkpoint FILE" in text
    assert "--weights none" in text


def test_downloaded_weights_work_offline_and_are_not_unpickled(offline: Path) -> None:
    name = "mobilenet_v3_small"
    source = seeded(torchvision.models.mobilenet_v3_small, 3)
    url = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.url
    offline.mkdir(parents=True)
    file = offline / url.rpartition("/")[2]
    torch.save(source.state_dict(), file)
    backbone = create_backbone(f"torchvision/{name}", input_shape=(3, 32, 32))
    wanted = source.features[0][0].weight
    assert torch.equal(backbone.module.features[0][0].weight, wanted)
    torch.save({"model": source}, file)  # a whole model: pickled code
    with pytest.raises(MissingDataError, match="could not be loaded"):
        create_backbone(f"torchvision/{name}", input_shape=(3, 32, 32))


def test_a_checkpoint_with_the_classifier_fits(tmp_path: Path) -> None:
    source = seeded(torchvision.models.squeezenet1_1, 3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    backbone = create("squeezenet1_1", checkpoint=tmp_path / "w.safetensors")
    assert torch.equal(backbone.module.features[0].weight, source.features[0].weight)
    assert backbone.checkpoint_info["ignored"] == ["classifier.1.bias", "classifier.1.weight"]
    assert weights_sha256(backbone.module) == backbone.weights_sha256


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision/resnet8", "'torchvision/resnet18'"),
        ("torchvision/resnet18.IMAGENET1K_V3", "'torchvision/resnet18.IMAGENET1K_V1'"),
    ],
)
def test_unknown_names(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean") as told:
        create_backbone(name, weights="none")
    assert near in str(told.value)


@pytest.mark.parametrize("shape", [(1, 32, 32), (64,)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"input_shape must be \(3, height, width\), got"):
        create("resnet18", input_shape=shape)


def test_a_size_that_does_not_fit_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"'torchvision/vit_b_32' can't be built for images of 33"
    ):
        create("vit_b_32", input_shape=(3, 33, 33))


def test_they_are_listed_behind_timms() -> None:
    names = list_backbones()
    first = names.index("torchvision/alexnet")
    assert all(name.startswith("torchvision/") for name in names[first:])
    assert not any(name.startswith("torchvision/") for name in names[:first])
    assert list_backbones("torchvision/resnet18*") == [
        "torchvision/resnet18",
        "torchvision/resnet18.IMAGENET1K_V1",
    ]
