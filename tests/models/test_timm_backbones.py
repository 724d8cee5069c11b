from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

from energytune.errors import ConfigError, MissingDataError, UnknownNameError
from energytune.models import (
    build_model,
    create_backbone,
    list_backbones,
    rebuild_model,
    weights_sha256,
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and an empty download cache in the returned folder."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_random_weights_are_seeded_and_input_is_described() -> None:
    one, again, other = (
        create_backbone("test_resnet.r160_in1k", weights="none", seed=s) for s in (1, 1, 2)
    )
    assert one.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert one.input_shape == (3, 160, 160)
    assert one.input_config is not None
    assert one.input_config.size == (3, 160, 160)
    assert one.input_config.mean == (0.5, 0.5, 0.5)
    assert (one.input_config.interpolation, one.input_config.crop_pct) == ("bilinear", 0.95)
    assert one.n_features == one.module.num_features


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_other_image_sizes_and_channels(name: str) -> None:
    backbone = create_backbone(name, weights="none", input_shape=(1, 64, 64))
    assert backbone.input_config is not None
    assert backbone.input_config.size == (1, 64, 64)
    assert len(backbone.input_config.mean) == len(backbone.input_config.std) == 1
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    x = torch.randn(2, 1, 64, 64)
    again = rebuild_model(net.spec())
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), net(x))


def test_reinitialised_blocks_are_freshly_built_ones() -> None:
    backbone = create_backbone("test_vit", weights="none", input_shape=(3, 32, 32), seed=0)
    with torch.no_grad():
        for parameter in backbone.module.parameters():
            parameter.fill_(0.5)
    one, again, other = (
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=2, seed=s).backbone
        for s in (1, 1, 2)
    )
    assert weights_sha256(one) == weights_sha256(again) != weights_sha256(other)
    for name, parameter in one.named_parameters():
        in_tail = name.startswith(("blocks.4.", "blocks.5.", "norm."))
        assert bool((parameter == 0.5).all()) is not in_tail
    weight = one.blocks[5].mlp.fc1.weight
    assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.1)  # timm's, not torch's
    assert not one.blocks[5].mlp.fc1.bias.any()


def test_offline_without_weights_says_what_to_do(offline: Path) -> None:
    with pytest.raises(MissingDataError) as told:
        create_backbone("test_resnet.r160_in1k")
    text = str(told.value)
    assert "'test_resnet.r160_in1k'" in text
    assert "Network is unreachable" in text
    assert "--checkpoint FILE" in text
    assert "--weights none" in text


def test_downloaded_weights_work_offline(offline: Path) -> None:
    torch.manual_seed(5)
    source = timm.create_model("test_resnet")
    folder = offline / "models--timm--test_resnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(source.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    backbone = create_backbone("test_resnet.r160_in1k", input_shape=(3, 64, 64))
    assert torch.equal(backbone.module.conv1[0].weight, source.conv1[0].weight)


def test_a_checkpoint_needs_no_network(offline: Path) -> None:
    source = create_backbone("test_resnet", weights="none", seed=5)
    with torch.no_grad():
        for name, buffer in source.module.named_buffers():
            buffer.add_(name.endswith("running_var"))
    file = offline / "weights.safetensors"
    save_file(source.module.state_dict(), file)
    backbone = create_backbone("test_resnet", checkpoint=file, seed=6)
    assert backbone.weights_sha256 == weights_sha256(source.module)
    assert backbone.checkpoint_info["n_loaded"] == len(source.module.state_dict())


def test_a_damaged_download_is_named(offline: Path) -> None:
    folder = offline / "models--timm--test_resnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(MissingDataError, match=r"could not be loaded from .*model\.safetensors"):
        create_backbone("test_resnet.r160_in1k")


def test_a_name_without_weights(offline: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no pretrained weights for backbone 'coatnet_0"):
        create_backbone("coatnet_0_224")


@pytest.mark.parametrize("name", ["resnet50.tv_in1kk", "resnet5", "hf-hub:someone/model", "/etc/x"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="Unknown backbone"):
        create_backbone(name, weights="none")


def test_near_names_include_tags() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'resnet50\.tv_in1k'"):
        create_backbone("resnet50.tv_in1kk", weights="none")


def test_images_need_three_dimensions() -> None:
    with pytest.raises(ConfigError, match=r"\(channels, height, width\), got \(64,\)"):
        create_backbone("test_vit", weights="none", input_shape=(64,))


def test_list_backbones() -> None:
    names = list_backbones()
    assert names[:2] == ["digits-cnn", "digits-mlp"]
    assert {"resnet50", "resnet50.tv_in1k"} <= set(names)
    assert list_backbones("digits") == ["digits-cnn", "digits-mlp"]
    assert list_backbones("resnet50.tv?_in1k") == ["resnet50.tv2_in1k"]
