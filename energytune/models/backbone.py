"""Backbones by name: embedded, from timm or torchvision, or a user's own module."""

from __future__ import annotations

import copy
import fnmatch
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from energytune.config import InputConfig
from energytune.errors import ConfigError, CutError
from energytune.models.checkpoints import load_checkpoint
from energytune.models.cut import (
    Cut,
    CutsItself,
    NoTail,
    SequentialCut,
    check_depth,
    own_blocks,
    sequential_blocks,
)
from energytune.models.cut_plan import CutPlanner
from energytune.models.embedded import EMBEDDED_BACKBONES
from energytune.models.hook_cut import HookCut
from energytune.models.networks import FlatOutput
from energytune.models.sources import all_names, named_source, own_source
from energytune.models.spatial_timm import check_maps
from energytune.models.torchvision_backbones import PREFIX
from energytune.models.verify_cut import check_ties

__all__ = ["Backbone", "Weights", "create_backbone", "list_backbones", "weights_sha256"]

Weights = Literal["default", "none"]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that turns inputs into features.

    Attributes:
        name: Its name; ``custom:CLASS`` for a user's own module.
        module: The network, in evaluation mode, on the CPU; (N, ...) -> (N, D), or (N, D, h, w) if
            it gives maps. Never changed: :func:`~energytune.models.build_model` copies it.
        weights_sha256: Hex digest over all names and tensors of the ``state_dict``.
        input_config: What it expects of images; None if that is not known.
        n_features: D.
        map_size: (h, w) of its maps of features; None if it gives vectors.
        input_shape: Shape of one input, without the batch.
        checkpoint_info: sha256, prefix and counts of the checkpoint; empty without one.
        fresh: Builds the same architecture with random weights; None if nobody knows how.
    """

    name: str
    module: nn.Module
    weights_sha256: str
    input_config: InputConfig | None
    n_features: int
    input_shape: tuple[int, ...]
    map_size: tuple[int, int] | None = None
    checkpoint_info: dict[str, Any] = field(default_factory=dict)
    fresh: Callable[[], nn.Module] | None = None

    @cached_property
    def max_reinit_depth(self) -> int:
        """Largest ``reinit_depth``, >= 0; 0 if the network can't be cut.

        Computed when first asked for: it runs the network a few times on one small batch.
        """
        n_blocks = own_blocks(self.module)
        return self._planner.max_depth if n_blocks is None else n_blocks

    @cached_property
    def cut_problem(self) -> str:
        """Why ``max_reinit_depth`` is not larger; empty if every block can be cut off."""
        return self._planner.problem if own_blocks(self.module) is None else ""

    @cached_property
    def _planner(self) -> CutPlanner:
        return CutPlanner(self.module, self.input_shape)

    def on(self, device: torch.device) -> Backbone:
        """Returns this backbone with a copy of its module on ``device``, its cuts found already.

        Models that share a frozen prefix (``build_model(..., share_prefix=True)``) share it where
        it is, so for many of them on a GPU the backbone goes there first.
        """
        twin = replace(self, module=copy.deepcopy(self.module).to(device))
        if own_blocks(self.module) is None:
            twin.__dict__["_planner"] = self._planner
        return twin

    def cut(self, module: nn.Module, depth: int) -> Cut:
        """Returns the cut of ``module`` (this one's or a copy) before its last ``depth`` blocks.

        Raises:
            CutError: If it can't be cut there.
        """
        if depth == 0:
            return NoTail(module)
        check_depth(self.name, depth, self.max_reinit_depth, self.cut_problem)
        try:
            if isinstance(module, CutsItself):
                return module.cut_before(depth)
            if sequential_blocks(self.module) is not None:
                cut = SequentialCut(module, depth)
                check_ties(module, cut.tail_state_names)
                return cut
            return HookCut(module, self._planner.plan(depth))
        except CutError as refused:
            raise CutError(
                f"Backbone {self.name!r} can't be cut at reinit_depth = {depth}: {refused}. Use a "
                "smaller one: --fix reinit_depth=0."
            ) from refused


def create_backbone(
    name: str | nn.Module,
    *,
    weights: Weights = "default",
    checkpoint: Path | None = None,
    checkpoint_prefix: str | None = None,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
    spatial: bool = False,
) -> Backbone:
    """Creates a backbone.

    Args:
        name: Name of an embedded model, a timm model, or one of torchvision's
            (``torchvision/resnet18``); or a user's own module. That is copied; its weights are
            taken as they are, whatever ``weights`` says.
        weights: ``"default"``: the weights that belong to the name, downloaded if need be;
            ``"none"``: random ones. Without effect if ``checkpoint`` is given.
        checkpoint: File with the weights (safetensors, or PyTorch's format without pickled code).
        checkpoint_prefix: What stands before the network's names in the file; None finds it.
        seed: Seed of random weights.
        input_shape: Shape of one input without the batch. Needed for a user's own module; for a
            named one, only if it differs from the size that the model was made for.
        spatial: Whether features are maps, (N, D, h, w), for one target a pixel. Networks of timm
            get an output stride of 8 by dilation, with the weights they have always had.

    Raises:
        UnknownNameError: If there is no such backbone.
        MissingDataError: If the weights are not on this machine and can't be downloaded.
        CheckpointError: If the checkpoint does not fit.
        ConfigError: If ``input_shape`` is missing, the module does not take such inputs, or it
            gives no maps and is to.
    """
    if weights not in ("default", "none"):
        raise ConfigError(f"weights must be 'default' or 'none', got {weights!r}.")
    if isinstance(name, nn.Module):
        source = own_source(name, input_shape)
    else:
        random = checkpoint is not None or weights == "none"
        source = named_source(name, input_shape, random=random, seed=seed, spatial=spatial)
    module, shape = source.module, tuple(source.input_shape)
    info: dict[str, Any] = {}
    if checkpoint is not None:
        info = load_checkpoint(checkpoint, module, checkpoint_prefix).to_dict()
    module, n_features, map_size = _featured(module.eval(), shape, source.label, spatial)
    if isinstance(name, nn.Module):
        _check_sequential(module, shape, source.label)
    return Backbone(
        name=source.label,
        module=module,
        weights_sha256=weights_sha256(module),
        input_config=source.images,
        n_features=n_features,
        input_shape=shape,
        map_size=map_size,
        checkpoint_info=info,
        fresh=source.fresh,
    )


def list_backbones(pattern: str | None = None) -> list[str]:
    """Returns names of backbones, embedded ones first, then timm's, then torchvision's.

    Args:
        pattern: Part of the name, or a shell pattern (``resnet*``); None: all of them.
    """
    own, others = sorted(EMBEDDED_BACKBONES), all_names() - EMBEDDED_BACKBONES.keys()
    names = [*own, *sorted(others, key=lambda name: (name.startswith(PREFIX), name))]
    if pattern is None:
        return names
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return fnmatch.filter(names, wanted)


@torch.no_grad()
def weights_sha256(module: nn.Module) -> str:
    """Returns the hex digest over names, dtypes, shapes and bytes of the ``state_dict``."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def _featured(
    module: nn.Module, input_shape: tuple[int, ...], label: str, spatial: bool
) -> tuple[nn.Module, int, tuple[int, int] | None]:
    """Returns the module, made to return vectors or maps, D, and the size of maps."""
    if spatial:
        n_features, height, width = check_maps(module, input_shape, label)
        return module, n_features, (height, width)
    try:
        output = module(torch.zeros(2, *input_shape))
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as failure:
        raise ConfigError(
            f"Backbone {label!r} does not take inputs of shape {tuple(input_shape)}: {failure}"
        ) from failure
    if not isinstance(output, torch.Tensor) or output.ndim < 2 or len(output) != 2:
        what = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ConfigError(
            f"Backbone {label!r} must return one tensor (N, D) of features, or (N, ...), which is "
            f"flattened; for N = 2 it returned {what}."
        )
    if output.ndim == 2:
        return module, output.shape[1], None
    return FlatOutput(module).eval(), output.flatten(1).shape[1], None


@torch.no_grad()
def _check_sequential(module: nn.Module, input_shape: tuple[int, ...], label: str) -> None:
    """Checks that a user's module that claims to be its ``blocks`` really is."""
    if sequential_blocks(module) is None:
        return
    x = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    z = x
    try:
        for block in sequential_blocks(module) or ():
            z = block(z)
        same = torch.equal(z, module(x))
    except (RuntimeError, ValueError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"Backbone {label!r} has sequential_blocks = True, but applying its blocks one after "
            "the other does not give its output. Correct one of them, or remove the flag."
        )
