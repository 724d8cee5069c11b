"""Backbones, task heads, and the cut between what is frozen and what is probed.

The names below load on first use, so that importing this room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energytune.models.assemble import TaskModel, build_model, rebuild_model
    from energytune.models.backbone import (
        Backbone,
        create_backbone,
        list_backbones,
        weights_sha256,
    )
    from energytune.models.checkpoints import CheckpointInfo, load_checkpoint
    from energytune.models.dense import DenseLayer
    from energytune.models.embedded import EMBEDDED_BACKBONES, SPATIAL_BACKBONES
    from energytune.models.networks import EmbeddedMLP

__all__ = [
    "EMBEDDED_BACKBONES",
    "SPATIAL_BACKBONES",
    "Backbone",
    "CheckpointInfo",
    "DenseLayer",
    "EmbeddedMLP",
    "TaskModel",
    "build_model",
    "create_backbone",
    "list_backbones",
    "rebuild_model",
    "weights_sha256",
    "load_checkpoint",
]

_HOMES = {
    "assemble": ("TaskModel", "build_model", "rebuild_model"),
    "backbone": ("Backbone", "create_backbone", "list_backbones", "weights_sha256"),
    "checkpoints": ("CheckpointInfo", "load_checkpoint"),
    "dense": ("DenseLayer",),
    "embedded": ("EMBEDDED_BACKBONES", "SPATIAL_BACKBONES"),
    "networks": ("EmbeddedMLP",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports the module in which ``name`` lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
