"""Loading a checkpoint into a backbone."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from energytune.errors import CheckpointError

__all__ = ["CheckpointInfo", "load_checkpoint"]


@dataclass(frozen=True)
class CheckpointInfo:
    """What was loaded from a checkpoint.

    Attributes:
        sha256: Hex digest of the file.
        prefix: What stood before the backbone's names.
        n_loaded: Number of the backbone's tensors that were loaded.
        n_total: Number of the backbone's tensors.
        ignored: Names in the checkpoint that were not used, at most 20.
    """

    sha256: str
    prefix: str
    n_loaded: int
    n_total: int
    ignored: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "ignored": list(self.ignored)}


def load_checkpoint(path: Path, module: nn.Module, prefix: str | None = None) -> CheckpointInfo:
    """Loads a safetensors file into ``module``, in place."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    own = module.state_dict()
    if own.keys() - tensors.keys():
        raise CheckpointError(f"{path} does not fit")
    module.load_state_dict({name: tensors[name] for name in own})
    ignored = tuple(sorted(tensors.keys() - own.keys()))[:20]
    sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return CheckpointInfo(sha256, "", len(own), len(own), ignored)
