from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load

from energytune.models.checkpoint_file import read_metadata
from energytune.models.checkpoint_write import checkpoint_bytes

TENSORS = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "n": torch.tensor(7),
    "half": torch.ones(5, dtype=torch.float16),
}


def test_the_library_reads_it(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(checkpoint_bytes(TENSORS, {"format": "pt", "backbone": "x\u00e9"}))
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "backbone": "x\u00e9"}
        assert set(file.keys()) == set(TENSORS)
        assert all(torch.equal(file.get_tensor(name), TENSORS[name]) for name in TENSORS)
    assert read_metadata(path) == {"format": "pt", "backbone": "x\u00e9"}


@given(st.dictionaries(st.text(), st.text(), max_size=6))
def test_the_order_of_the_metadata_does_not_show(metadata):
    turned = dict(reversed(metadata.items()))
    raw = checkpoint_bytes(TENSORS, metadata)
    assert raw == checkpoint_bytes(TENSORS, turned)
    assert load(raw).keys() == TENSORS.keys()
