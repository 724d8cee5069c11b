"""Backbones, task heads, and the cut between what is frozen and what is probed.

The names below load on first use, so that importing this room costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.on_demand import on_demand

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

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "assemble": ("TaskModel", "build_model", "rebuild_model"),
        "backbone": ("Backbone", "create_backbone", "list_backbones", "weights_sha256"),
        "checkpoints": ("CheckpointInfo", "load_checkpoint"),
        "dense": ("DenseLayer",),
        "embedded": ("EMBEDDED_BACKBONES", "SPATIAL_BACKBONES"),
        "networks": ("EmbeddedMLP",),
    },
)
