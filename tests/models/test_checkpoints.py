from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from energytune.errors import CheckpointError
from energytune.models import EmbeddedMLP, load_checkpoint, weights_sha256
from tests.models.checkpoint_makers import resnet, under

N_NEEDED = sum("num_batches" not in name for name in resnet(0).state_dict())


def refused(tmp_path: Path, content: Any, target: nn.Module, prefix: str | None = None) -> str:
    """Returns the message of the refusal, after checking that nothing was changed."""
    file = tmp_path / "checkpoint.pth"
    torch.save(content, file)
    before = weights_sha256(target)
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(file, target, prefix)
    assert weights_sha256(target) == before
    return str(told.value)


def test_a_momentum_encoder_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    source, target = resnet(1), resnet(3)
    content = {"state_dict": under("module.encoder_k.", source.state_dict())}
    text = refused(tmp_path, content, target)
    assert "momentum or target network" in text
    assert "--checkpoint-prefix state_dict.module.encoder_k." in text
    info = load_checkpoint(tmp_path / "checkpoint.pth", target, "state_dict.module.encoder_k")
    assert info.n_loaded == info.n_total
    assert weights_sha256(target) == weights_sha256(source)


def test_missing_batchnorm_is_not_forgiven(tmp_path: Path) -> None:
    """All of it is a small share of the weights, and decides about everything."""
    source = resnet(1)
    content = {n: t for n, t in source.state_dict().items() if ".bn" not in n}
    target = resnet(3)
    n_gone = sum(".bn" in n for n in target.state_dict() if "num_batches" not in n)
    text = refused(tmp_path, content, target)
    assert f"Missing are {n_gone}: layer1.0.bn1.bias" in text
    assert "does not fit the backbone (ResNet)" in text


def test_num_batches_tracked_may_be_missing(tmp_path: Path) -> None:
    state = {n: t for n, t in resnet(1).state_dict().items() if "num_batches" not in n}
    file = tmp_path / "weights.safetensors"
    save_file(state, file)
    target = resnet(3)
    info = load_checkpoint(file, target)
    assert (info.n_loaded, info.n_total) == (len(state), len(target.state_dict()))


def test_another_architecture_is_described(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = timm.create_model("test_vit", num_classes=0)
    text = refused(tmp_path, {"model": vit.state_dict()}, resnet(3))
    assert f"0 of {N_NEEDED} tensors fit" in text
    assert "a vision transformer of 6 blocks, width 64" in text
    text = refused(tmp_path, under("module.", resnet(1).state_dict()), vit)
    assert "a ResNet of 2-2-2-2 basic blocks" in text


def test_other_shapes_are_shown_side_by_side(tmp_path: Path) -> None:
    source = resnet(1).state_dict()
    source["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    text = refused(tmp_path, {"state_dict": source}, resnet(3))
    assert f"{N_NEEDED - 1} of {N_NEEDED} tensors fit under the prefix 'state_dict.'" in text
    assert "conv1.weight is 64x3x3x3 in the file, 64x3x7x7 in the backbone" in text


def test_other_prefixes_are_counted(tmp_path: Path) -> None:
    half = dict(list(resnet(1).state_dict().items())[:60])
    content = under("a.", resnet(1).state_dict()) | under("b.", half)
    text = refused(tmp_path, content, resnet(3), prefix="b.")
    assert "under the prefix 'b.'" in text
    del content["a.conv1.weight"]
    text = refused(tmp_path, content, resnet(3))
    assert f"{N_NEEDED - 1} of {N_NEEDED} tensors fit under the prefix 'a.'" in text
    n_half = sum("num_batches" not in name for name in half)
    assert f"Other prefixes: 'b.' with {n_half} names" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused(tmp_path: Path, value: float) -> None:
    state = EmbeddedMLP().state_dict()
    state["blocks.2.weight"][3, 4] = value
    text = refused(tmp_path, state, EmbeddedMLP())
    assert "1 non-finite values" in text
    assert "'blocks.2.weight'" in text


def test_untouched_batchnorm_statistics_are_warned_of(tmp_path: Path) -> None:
    source = resnet(1)
    for name, buffer in source.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(1)
    file = tmp_path / "checkpoint.pth"
    torch.save(source.state_dict(), file)
    with pytest.warns(UserWarning, match="BatchNorm variances"):
        load_checkpoint(file, resnet(3))


def test_info_is_json_and_lists_what_was_ignored(tmp_path: Path) -> None:
    content = EmbeddedMLP().state_dict() | {f"head.{i}": torch.ones(1) for i in range(30)}
    file = tmp_path / "weights.safetensors"
    save_file(content, file)
    info = load_checkpoint(file, EmbeddedMLP()).to_dict()
    assert info["prefix"] == ""
    assert len(info["sha256"]) == 64
    assert len(info["ignored"]) == 20
    assert "head.11" in info["ignored"]


def test_half_precision_is_widened(tmp_path: Path) -> None:
    source = EmbeddedMLP().half()
    file = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), file)
    target = EmbeddedMLP()
    load_checkpoint(file, target)
    assert target.blocks[0].weight.dtype == torch.float32
    assert torch.equal(target.blocks[0].weight, source.blocks[0].weight.float())


def test_a_file_without_weights(tmp_path: Path) -> None:
    text = refused(tmp_path, {"epoch": 3, "loss": 0.1}, EmbeddedMLP())
    assert "0 of 8 tensors fit" in text
    assert "looks like no set of weights at all" in text


class Molecules(nn.Module):
    """A network whose inputs are numbered by a vocabulary."""

    vocabulary = "C N O F"

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)


def test_the_vocabulary_must_be_the_same(tmp_path: Path) -> None:
    source, target = Molecules(), Molecules()
    file = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), file, metadata={"vocabulary": "C N O F"})
    load_checkpoint(file, target)
    assert weights_sha256(target) == weights_sha256(source)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"vocabulary": "H C N O"}, "vocabulary 'H C N O', and this network has 'C N O F'"),
        ({"format": "pt"}, "does not tell the vocabulary of its inputs"),
        (None, "`energytune pretrain` writes it"),
    ],
)
def test_another_or_an_unknown_vocabulary_is_refused(
    tmp_path: Path, metadata: dict[str, str] | None, told: str
) -> None:
    target = Molecules()
    before = weights_sha256(target)
    file = tmp_path / "weights.safetensors"
    save_file(Molecules().state_dict(), file, metadata=metadata)
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(file, target)
    assert told in str(refusal.value)
    assert weights_sha256(target) == before
    assert "does not tell the vocabulary" in refused(tmp_path, Molecules().state_dict(), target)


def test_a_vocabulary_in_the_file_alone_is_no_reason(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(EmbeddedMLP().state_dict(), file, metadata={"vocabulary": "C N O F"})
    load_checkpoint(file, EmbeddedMLP())


def test_what_becomes_infinite_in_the_network_s_own_type_is_refused(tmp_path: Path) -> None:
    state = EmbeddedMLP().state_dict()
    state["blocks.2.weight"][3, 4] = 1e5
    assert "1 non-finite values" in refused(tmp_path, state, EmbeddedMLP().half())
