"""The backbones that energytune itself defines, by name; each call builds one with random weights.

They live in modules that load when one of their networks is built: torch-geometric takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EMBEDDED_BACKBONES", "SPATIAL_BACKBONES"]

SPATIAL_BACKBONES = frozenset({"scene-resnet"})
"""Those that give maps of features."""


def _build(home: str, registry: str, name: str) -> nn.Module:
    networks: Mapping[str, Callable[[], nn.Module]] = getattr(
        import_module(f"energytune.models.{home}"), registry
    )
    return networks[name]()


EMBEDDED_BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "digits-mlp": partial(_build, "networks", "DIGIT_BACKBONES", "digits-mlp"),
    "digits-cnn": partial(_build, "networks", "DIGIT_BACKBONES", "digits-cnn"),
    "gcn": partial(_build, "gcn", "GRAPH_BACKBONES", "gcn"),
    "gcn-small": partial(_build, "gcn", "GRAPH_BACKBONES", "gcn-small"),
    "scene-resnet": partial(_build, "scene_net", "SCENE_BACKBONES", "scene-resnet"),
}
"""By name. Each has ``input_shape``: that of one input, without the batch."""
