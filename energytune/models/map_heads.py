"""Task heads on feature maps: what turns a map into logits for every pixel of the image."""

from __future__ import annotations

import torch
from torch import nn

from energytune.config import HEAD_ARCHS
from energytune.errors import unknown_name
from energytune.models.aspp import AsppHead, aspp_for

__all__ = ["MAP_HIDDEN", "create_map_head"]

MAP_HIDDEN = 256
"""Width of the hidden layer of the ``mlp`` head, as for features without a map."""


def create_map_head(
    head_arch: str,
    n_features: int,
    n_outputs: int,
    *,
    seed: int,
    output_size: tuple[int, int],
    map_size: tuple[int, int],
) -> nn.Module:
    """Builds a head with torch's default initialisation.

    Logits are made at the map's resolution and upsampled bilinearly (corners not aligned), as
    in DeepLabV3.

    Args:
        head_arch: ``"aspp"``: DeepLabV3's head, sized by :func:`~energytune.models.aspp.aspp_for`;
            ``"linear"``: one 1 x 1 convolution; ``"mlp"``: 1 x 1 convolution, ReLU, 1 x 1
            convolution.
        n_features: Channels C of the map, >= 1.
        n_outputs: Classes K, >= 1.
        seed: The same seed gives bit-equal weights; the global generator is left as it was.
        output_size: Height and width of the logits, those of the image.
        map_size: Height and width of the map, on which the reach of ``aspp`` depends.

    Returns:
        A module from (N, C, h, w) maps to (N, K, H, W) logits.

    Raises:
        UnknownNameError: If there is no such head.
    """
    if head_arch not in HEAD_ARCHS:
        raise unknown_name("head", head_arch, HEAD_ARCHS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _layers(head_arch, n_features, n_outputs, map_size)
    upsample = nn.Upsample(size=output_size, mode="bilinear", align_corners=False)
    return nn.Sequential(*layers, upsample)


def _layers(
    head_arch: str, n_features: int, n_outputs: int, map_size: tuple[int, int]
) -> list[nn.Module]:
    if head_arch == "aspp":
        return [AsppHead(n_features, n_outputs, aspp_for(map_size))]
    if head_arch == "linear":
        return [nn.Conv2d(n_features, n_outputs, 1)]
    return [
        nn.Conv2d(n_features, MAP_HIDDEN, 1),
        nn.ReLU(),
        nn.Conv2d(MAP_HIDDEN, n_outputs, 1),
    ]
