"""Backbones, task heads, and the cut between what is frozen and what is probed."""

from energytune.models.assemble import TaskModel, build_model, rebuild_model
from energytune.models.backbone import Backbone, create_backbone, list_backbones, weights_sha256
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
