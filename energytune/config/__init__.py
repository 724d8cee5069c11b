"""Frozen settings: recipe, search space, both training stages, a whole search."""

from energytune.config.engine import EngineConfig
from energytune.config.grid import snap_to_grid, snapshot_epochs
from energytune.config.inputs import InputConfig
from energytune.config.load import apply_fixes, list_spaces, load_space, parse_fix
from energytune.config.pretraining import PretrainSettings, pretrain_settings
from energytune.config.probe_grid import MapHead, ProbeGrid, grid_of_space, probe_grid
from energytune.config.recipe import DIMENSIONS, HEAD_ARCHS, HeadArch, Recipe
from energytune.config.settings import SearchConfig, search_config
from energytune.config.space import SearchSpace
from energytune.config.stages import FinetuneConfig, ProbeConfig

__all__ = [
    "DIMENSIONS",
    "HEAD_ARCHS",
    "EngineConfig",
    "FinetuneConfig",
    "HeadArch",
    "InputConfig",
    "MapHead",
    "PretrainSettings",
    "ProbeConfig",
    "ProbeGrid",
    "Recipe",
    "SearchConfig",
    "SearchSpace",
    "apply_fixes",
    "grid_of_space",
    "list_spaces",
    "load_space",
    "parse_fix",
    "pretrain_settings",
    "probe_grid",
    "search_config",
    "snap_to_grid",
    "snapshot_epochs",
]
