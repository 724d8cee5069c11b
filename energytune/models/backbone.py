"""Backbones by name: embedded, from timm, or a user's own module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from energytune.config import InputConfig
from energytune.errors import ConfigError, MissingDataError, unknown_name
from energytune.models.checkpoints import load_checkpoint
from energytune.models.cut import Cut, NoTail, SequentialCut, check_depth, sequential_blocks
from energytune.models.networks import EMBEDDED_BACKBONES
from energytune.models.reinit import seeded

__all__ = ["Backbone", "Weights", "create_backbone", "list_backbones", "weights_sha256"]

Weights = Literal["default", "none"]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that turns inputs into features.

    Attributes:
        name: Its name; ``custom:CLASS`` for a user's own module.
        module: The network, in evaluation mode, on the CPU; (N, ...) -> (N, D). Never changed:
            :func:`~energytune.models.build_model` copies it.
        weights_sha256: Hex digest over all names and tensors of the ``state_dict``.
        input_config: What it expects of images; None if it does not take images.
        n_features: D.
        input_shape: Shape of one input, without the batch; None if unknown.
        checkpoint_info: sha256, prefix and counts of the checkpoint; empty without one.
        fresh: Builds the same architecture with random weights; None if nobody knows how.
    """

    name: str
    module: nn.Module
    weights_sha256: str
    input_config: InputConfig | None
    n_features: int
    input_shape: tuple[int, ...] | None
    checkpoint_info: dict[str, Any] = field(default_factory=dict)
    fresh: Callable[[], nn.Module] | None = None

    @cached_property
    def max_reinit_depth(self) -> int:
        """Largest ``reinit_depth``, >= 0."""
        blocks = sequential_blocks(self.module)
        return len(blocks) if blocks is not None else 0

    @cached_property
    def cut_problem(self) -> str:
        """Why ``max_reinit_depth`` is not larger; empty if every block can be cut off."""
        return ""

    def cut(self, module: nn.Module, depth: int) -> Cut:
        """Returns the cut of ``module`` (a copy of this one's) before its last ``depth`` blocks.

        Raises:
            CutError: If it can't be cut there.
        """
        if depth == 0:
            return NoTail(module)
        check_depth(self.name, depth, self.max_reinit_depth, self.cut_problem)
        return SequentialCut(module, depth)


def create_backbone(
    name: str | nn.Module,
    *,
    weights: Weights = "default",
    checkpoint: Path | None = None,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Backbone:
    """Creates a backbone.

    Args:
        name: Name of an embedded or a timm model, or a user's own module.
        weights: ``"default"``: the weights that belong to the name, downloaded if need be;
            ``"none"``: random ones. Without effect if ``checkpoint`` is given.
        checkpoint: File with the weights (safetensors, or PyTorch's format without pickled code).
        seed: Seed of random weights.
        input_shape: Shape of one input without the batch; needed for a user's own module.

    Raises:
        UnknownNameError: If there is no such backbone.
        MissingDataError: If the weights are not on this machine and can't be downloaded.
        CheckpointError: If the checkpoint does not fit.
        ConfigError: If ``input_shape`` is missing.
    """
    if weights not in ("default", "none"):
        raise ConfigError(f"weights must be 'default' or 'none', got {weights!r}.")
    if not isinstance(name, str) or name not in EMBEDDED_BACKBONES:
        raise unknown_name("backbone", str(name), EMBEDDED_BACKBONES)
    fresh = EMBEDDED_BACKBONES[name]
    if checkpoint is None and weights == "default":
        raise MissingDataError(
            f"There are no weights to download for the embedded backbone {name!r}: a search "
            "pretrains it on first use. Elsewhere pass --checkpoint FILE, or --weights none."
        )
    module = seeded(fresh, seed).eval()
    info = load_checkpoint(checkpoint, module).to_dict() if checkpoint else {}
    return Backbone(
        name=name,
        module=module,
        weights_sha256=weights_sha256(module),
        input_config=None,
        n_features=fresh().num_features,
        input_shape=(fresh().n_inputs,),
        checkpoint_info=info,
        fresh=fresh,
    )


def list_backbones(pattern: str | None = None) -> list[str]:
    """Returns the names of all backbones, embedded ones first, that match a shell pattern."""
    return sorted(EMBEDDED_BACKBONES)


@torch.no_grad()
def weights_sha256(module: nn.Module) -> str:
    """Returns the hex digest over names, dtypes, shapes and bytes of the ``state_dict``."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().data)
    return digest.hexdigest()
