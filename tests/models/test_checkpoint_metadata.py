"""The texts that a safetensors file carries, read without its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from energytune.errors import CheckpointError, MissingDataError
from energytune.models.checkpoint_file import read_metadata


def test_metadata(tmp_path: Path) -> None:
    state = {"weight": torch.ones(2)}
    file = tmp_path / "weights"
    save_file(state, file, metadata={"vocabulary": "C N O", "format": "pt"})
    assert read_metadata(file) == {"vocabulary": "C N O", "format": "pt"}
    save_file(state, file)
    assert read_metadata(file) == {}
    torch.save(state, file)
    assert read_metadata(file) == {}
    file.write_bytes(b"")
    assert read_metadata(file) == {}
    with pytest.raises(MissingDataError, match="does not exist"):
        read_metadata(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ((10**9).to_bytes(8, "little") + b"{}", "at most 100000000"),
        ((9).to_bytes(8, "little") + b"{}", "only 2 follow"),
        ((2).to_bytes(8, "little") + b"{]", "has a damaged header"),
        ((22).to_bytes(8, "little") + b'{"__metadata__":"text"}'[:22], "has a damaged header"),
        ((23).to_bytes(8, "little") + b'{"__metadata__":"text"}', "has a damaged header"),
        ((24).to_bytes(8, "little") + b'{"__metadata__":{"a":1}}', "metadata that are no texts"),
        ((20_001).to_bytes(8, "little") + b'{"a":' + b"[" * 19_996, "has a damaged header"),
    ],
)
def test_metadata_of_a_header_that_lies(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=told):
        read_metadata(file)
