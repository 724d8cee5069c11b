"""Writing checkpoints: the same weights and story give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

__all__ = ["checkpoint_bytes"]

_ALIGNMENT = 8


def checkpoint_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Returns a safetensors file whose bytes depend on nothing but the arguments.

    The library writes the metadata in an order that changes from call to call, and so would the
    file's hash.

    Args:
        tensors: By name; contiguous, on the CPU.
        metadata: Texts for the header.
    """
    raw = save(dict(tensors))
    n_header = int.from_bytes(raw[:8], "little")
    layout = json.loads(raw[8 : 8 + n_header])
    header = json.dumps(
        {"__metadata__": dict(sorted(metadata.items())), **layout}, separators=(",", ":")
    ).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return len(header).to_bytes(8, "little") + header + raw[8 + n_header :]
