from __future__ import annotations

import argparse
import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from energytune.errors import CheckpointError, MissingDataError
from energytune.models.checkpoint_file import file_sha256, flatten_tensors, read_tensors


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return nn.Linear(3, 2).state_dict()


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_format_with_settings_beside(
    tmp_path: Path, state: dict[str, torch.Tensor], legacy: bool
) -> None:
    nested = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1),
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "queue": torch.zeros(2),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(1)}}, "groups": [1]},
    }
    file = tmp_path / "last.pth"
    torch.save(nested, file, _use_new_zipfile_serialization=not legacy)
    tensors = read_tensors(file)
    assert set(tensors) == {
        "state_dict.module.weight",
        "state_dict.module.bias",
        "queue",
        "optimizer.state.0.momentum_buffer",
    }
    assert torch.equal(tensors["state_dict.module.weight"], state["weight"])


def test_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "weights.bin"  # the content decides, not the name
    save_file(state, file)
    assert torch.equal(read_tensors(file)["weight"], state["weight"])
    assert file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_safetensors_header_may_begin_like_any_other_format(tmp_path: Path) -> None:
    """Its first 8 bytes are a length: 0x80 begins a pickle, 0x4b50 an archive."""
    for n_bytes in (0x80, 0x4B50):
        file = tmp_path / f"{n_bytes}.safetensors"
        n_name = n_bytes - len('{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')
        header = '{"' + "n" * n_name + '":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        file.write_bytes(n_bytes.to_bytes(8, "little") + header.encode() + bytes(4))
        assert list(read_tensors(file)) == ["n" * n_name]


class Harm:
    """Runs code when unpickled."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Harm, "ran", True)


def write(kind: str, file: Path, state: dict[str, torch.Tensor]) -> None:
    if kind == "torchscript":
        torch.jit.script(nn.Linear(3, 2)).save(file)
    elif kind == "whole module":
        torch.save(nn.Linear(3, 2), file)
    elif kind == "harm":
        torch.save({"state_dict": state, "x": Harm()}, file)
    elif kind == "pickle":
        file.write_bytes(pickle.dumps({"weight": Harm()}))
    elif kind == "npz":
        with file.open("wb") as stream:
            np.savez(stream, weight=np.zeros(2))
    elif kind == "npy":
        with file.open("wb") as stream:
            np.save(stream, np.zeros(2))
    elif kind == "html":
        file.write_text("\n<!DOCTYPE html><html>Sign in</html>")
    elif kind == "lfs":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    elif kind == "gzip":
        file.write_bytes(gzip.compress(b"weights"))
    elif kind == "empty":
        file.touch()
    elif kind == "text":
        file.write_text("some notes about the weights")
    elif kind == "zip":
        import zipfile

        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("readme.txt", "no weights")
    elif kind == "cut torch":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[:-200])
    elif kind == "cut legacy":
        torch.save(state, file, _use_new_zipfile_serialization=False)
        file.write_bytes(file.read_bytes()[:-20])
    elif kind == "cut safetensors":
        save_file(state, file)
        file.write_bytes(file.read_bytes()[:-3])


REFUSED = {
    "torchscript": "is a TorchScript archive",
    "whole module": r"pickled Python objects \(torch.nn.modules.linear.Linear\).*whole saved model",
    "harm": "holds pickled Python objects",
    "pickle": "is a plain pickle",
    "npz": r"is a NumPy archive \(.npz\)",
    "npy": "is a NumPy array",
    "html": "is a web page",
    "lfs": "is a git-lfs pointer",
    "gzip": "is a gzip archive",
    "empty": "is empty",
    "text": "is neither safetensors nor PyTorch's format",
    "zip": "without PyTorch weights",
    "cut torch": "is truncated",
    "cut legacy": "is truncated or damaged",
    "cut safetensors": "is truncated or damaged",
}


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_each_with_its_own_message(
    tmp_path: Path, state: dict[str, torch.Tensor], kind: str
) -> None:
    file = tmp_path / "model.pth"
    write(kind, file, state)
    with pytest.raises(CheckpointError, match=REFUSED[kind]) as told:
        read_tensors(file)
    assert str(file) in str(told.value)
    assert not Harm.ran


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="does not exist"):
        read_tensors(tmp_path / "nothing.pth")
    with pytest.raises(MissingDataError, match="is a folder"):
        read_tensors(tmp_path)


def test_flatten() -> None:
    one = torch.ones(1)
    assert flatten_tensors({"a": {"b": one, "c": 3}, 4: {5: one}, "d": [one]}).keys() == {
        "a.b",
        "4.5",
    }
    assert flatten_tensors(one).keys() == {"tensor"}
    assert flatten_tensors("text") == {}
