"""Task heads: what turns features into logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from energytune.config import HEAD_ARCHS
from energytune.errors import ConfigError, unknown_name

__all__ = ["MLP_HIDDEN", "MapSizes", "create_head"]

MLP_HIDDEN = 256
"""Width of the hidden layer of the ``mlp`` head."""


class MapSizes(NamedTuple):
    """Heights and widths where targets are pixels.

    Attributes:
        features: (h, w) of the backbone's maps.
        logits: (H, W) of the logits: of the inputs and targets.
    """

    features: tuple[int, int]
    logits: tuple[int, int]


def create_head(
    head_arch: str,
    n_features: int,
    n_outputs: int,
    *,
    seed: int,
    maps: MapSizes | None = None,
) -> nn.Module:
    """Builds a head with its layers' default initialisation.

    Args:
        head_arch: ``"linear"``: one linear layer; ``"mlp"``: linear, ReLU, linear; ``"aspp"``:
            DeepLabV3's, for maps only.
        n_features: Width D of the features, >= 1.
        n_outputs: Width K of the logits, >= 1.
        seed: The same seed gives bit-equal weights; the global generator is left as it was.
        maps: Sizes of the maps of features and of the logits; None for vectors.

    Returns:
        A module from (N, D) features to (N, K) logits, or from (N, D, h, w) to (N, K, H, W).

    Raises:
        UnknownNameError: If there is no such head.
        ConfigError: If the head needs maps and there are none.
    """
    if head_arch not in HEAD_ARCHS:
        raise unknown_name("head", head_arch, HEAD_ARCHS)
    if maps is not None:
        from energytune.models.map_heads import create_map_head

        return create_map_head(
            head_arch,
            n_features,
            n_outputs,
            seed=seed,
            output_size=maps.logits,
            map_size=maps.features,
        )
    if head_arch == "aspp":
        raise ConfigError(
            "head_arch 'aspp' needs maps of features, which only datasets with one target a pixel "
            "have (voc2012, digit-scenes). Use linear or mlp: --fix head_arch=linear."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if head_arch == "linear":
            return nn.Linear(n_features, n_outputs)
        return nn.Sequential(
            nn.Linear(n_features, MLP_HIDDEN), nn.ReLU(), nn.Linear(MLP_HIDDEN, n_outputs)
        )
