from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import pickle
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file
from torch import nn

from energytune.errors import CheckpointError, MissingDataError
from energytune.models.checkpoint_file import (
    file_sha256,
    flatten_tensors,
    read_metadata,
    read_tensors,
)


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


def write_header(file: Path, header: dict[str, object], n_bytes: int = 8) -> None:
    raw = json.dumps(header).encode()
    file.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(n_bytes))


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
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("readme.txt", "no weights")
    elif kind == "tar":
        with tarfile.open(file, "w") as tar:
            tar.addfile(tarfile.TarInfo("weights.pth"))
    elif kind == "hdf5":
        file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    elif kind == "tf index":
        file.write_bytes(bytes(50) + bytes.fromhex("57fb808b247547db"))
    elif kind == "tf list":
        file.write_text('model_checkpoint_path: "model.ckpt-250228"')
    elif kind == "json index":
        file.write_text('{"weight_map": {"conv1.weight": "model-00001-of-00002.safetensors"}}')
    elif kind == "prefixed":
        torch.save(state, file)
        file.write_bytes(b"HTTP/1.1 200 OK\r\n\r\n" + file.read_bytes())
    elif kind == "list":
        torch.save([state, {"epoch": 3}], file)
    elif kind == "nested list":
        torch.save({"models": {"all": (1, [state])}}, file)
    elif kind == "tensors without names":
        torch.save(list(state.values()), file)
    elif kind == "long header":
        file.write_bytes((10**12).to_bytes(8, "little") + b'{"a":1}')
    elif kind == "lying header":
        file.write_bytes((500).to_bytes(8, "little") + b'{"a":1}')
    elif kind == "lying offsets":
        write_header(file, {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, 8)
    elif kind == "overlapping offsets":
        one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        write_header(file, {"w": one, "v": one}, 8)
    elif kind == "huge shape":
        write_header(file, {"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}})
    elif kind == "no dtype":
        write_header(file, {"w": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}})
    elif kind == "endless":
        state["self"] = state  # type: ignore[assignment]
        torch.save(state, file)
    elif kind == "twice":
        torch.save({"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}}, file)
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
    "whole module": r"holds a whole pickled model \(torch.nn.modules.linear.Linear\)",
    "harm": r"holds pickled Python objects \(builtins.setattr.*may be made to do harm",
    "pickle": "is a plain pickle",
    "npz": r"is a NumPy archive \(.npz\)",
    "npy": "is a NumPy array",
    "html": "is a web page",
    "lfs": "is a git-lfs pointer",
    "gzip": "is a gzip archive",
    "empty": "is empty",
    "text": "is neither safetensors nor PyTorch's format",
    "zip": "without PyTorch weights",
    "tar": "is a tar archive",
    "hdf5": "is an HDF5 file",
    "tf index": "is the index of a TensorFlow checkpoint",
    "tf list": "is TensorFlow's list of checkpoints",
    "json index": "is JSON",
    "prefixed": "has something in front of its archive",
    "list": "has its weights in a list .2 items with 2 tensors.",
    "nested list": "has its weights in a list .1 items with 2 tensors.",
    "tensors without names": "has its weights in a list",
    "long header": "its header claims 1000000000000 bytes, where at most 100000000 are allowed",
    "lying header": "is truncated: its header claims 500 bytes, and only 7 follow",
    "lying offsets": "is truncated or damaged",
    "overlapping offsets": "is truncated or damaged",
    "huge shape": "is truncated or damaged",
    "no dtype": "is truncated or damaged",
    "endless": "has dicts nested more than 32 deep",
    "twice": "two tensors called 'a.b'",
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


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.ckpt-250228.data-00000-of-00001", "a part of a TensorFlow checkpoint"),
        ("saved_model.pb", "a TensorFlow graph"),
        ("model.onnx", "an ONNX graph"),
        ("flax_model.msgpack", "a Flax checkpoint"),
    ],
)
def test_formats_that_only_the_name_tells(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(1, 100)))
    with pytest.raises(CheckpointError, match=f"is {told}, by its name. Convert it"):
        read_tensors(tmp_path / name)


@given(data=st.data(), legacy=st.sampled_from(["zip", "legacy", "safetensors"]))
@settings(deadline=None, max_examples=60)
def test_damaged_files_are_read_or_refused(data: st.DataObject, legacy: str) -> None:
    """Whatever bytes change, there is no error but ours."""
    buffer = io.BytesIO()
    state = nn.Linear(3, 2).state_dict()
    if legacy == "safetensors":
        buffer.write(save_bytes(state))
    else:
        torch.save(state, buffer, _use_new_zipfile_serialization=legacy == "zip")
    raw = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "weights"
        file.write_bytes(raw[:cut])
        for read in (read_tensors, read_metadata):
            with contextlib.suppress(CheckpointError):
                read(file)
