"""One tiny network of each of many timm families, at random weights.

The keyword arguments make published architectures small; a few families can only be made small
through their class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from timm.layers import GatedMlp
from timm.models.focalnet import FocalNet
from timm.models.metaformer import MetaFormer
from timm.models.mlp_mixer import MlpMixer, ResBlock, SpatialGatingBlock
from timm.models.nest import Nest
from timm.models.vgg import VGG
from timm.models.volo import VOLO
from torch import nn

__all__ = ["FAMILIES", "build"]

_RESNET = {"layers": (1, 1, 2, 2), "channels": (8, 16, 24, 32)}
_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
_MIXER = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_blocks": 3}
_SWIN = {
    "img_size": 64, "window_size": 4, "embed_dim": 8, "depths": (1, 1, 2, 2),
    "num_heads": (1, 1, 2, 2),
}  # fmt: skip
_FOUR = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}

FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (32, _RESNET),
    "resnext50_32x4d": (
        32, {"layers": (1, 1, 1, 2), "channels": (32,) * 4, "cardinality": 4, "base_width": 8},
    ),
    "seresnet18": (32, _RESNET),
    "ecaresnet26t": (32, _RESNET),
    "resnetv2_50": (32, {"layers": (1, 1, 1, 2), "channels": (16, 16, 32, 32), "stem_chs": 8}),
    "test_byobnet": (32, {}),
    "test_nfnet": (32, {}),
    "test_convnext": (32, {}),
    "inception_next_atto": (32, {"depths": (1, 1, 1, 2), "dims": (24, 24, 32, 32)}),
    "mambaout_femto": (32, {"depths": (1, 1, 1, 2), "dims": (8, 16, 24, 32)}),
    "edgenext_xx_small": (64, _FOUR),
    "test_efficientnet": (32, {}),
    "mobilenetv3_small_050": (32, {"drop_rate": 0.3}),
    "rexnet_100": (32, {"width_mult": 0.3, "depth_mult": 0.5}),
    "starnet_s050": (32, {}),
    "regnetx_002": (32, {}),
    "ese_vovnet19b_slim": (32, {}),
    "efficientvit_b0": (
        64,
        {"widths": (8, 8, 16, 16, 32), "depths": (1,) * 5, "head_dim": 8, "head_widths": (16, 16)},
    ),
    "densenet121": (32, {"growth_rate": 4, "block_config": (2, 2, 2, 2)}),
    "dla34": (32, {"levels": (1,) * 6, "channels": (4, 8, 8, 16, 16, 32)}),
    "vgg": (32, {"cfg": [8, "M", 16, "M", 16, 16, "M"]}),
    "vit_tiny_patch16_224": (32, {**_VIT, "proj_drop_rate": 0.2}),
    "deit_tiny_distilled_patch16_224": (32, _VIT),
    "deit3_small_patch16_224": (32, _VIT),
    "vit_relpos_small_patch16_224": (32, _VIT),
    "beit_base_patch16_224": (32, _VIT),
    "eva02_tiny_patch14_224": (28, {**_VIT, "img_size": 28, "patch_size": 14, "embed_dim": 32}),
    "samvit_base_patch16": (64, {**_VIT, "img_size": 64, "patch_size": 16}),
    "cait_xxs24_224": (32, _VIT),
    "convit_tiny": (32, {**_VIT, "embed_dim": 6, "local_up_to_layer": 2}),
    "xcit_nano_12_p16_224": (
        32, {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2},
    ),
    "mixer": (32, _MIXER),
    "resmlp": (32, {**_MIXER, "block_layer": ResBlock, "mlp_ratio": 4}),
    "gmlp": (
        32,
        {**_MIXER, "block_layer": SpatialGatingBlock, "mlp_ratio": 6, "mlp_layer": GatedMlp},
    ),
    "sequencer2d_s": (
        64, {"layers": (1,) * 4, "embed_dims": (16,) * 4, "hidden_sizes": (4,) * 4},
    ),
    "swin_tiny_patch4_window7_224": (64, _SWIN),
    "swinv2_tiny_window8_256": (64, _SWIN),
    "test_maxvit": (64, {"img_size": 64}),
    "test_coatnet": (64, {"img_size": 64}),
    "davit_tiny": (
        64,
        {"depths": (1, 1, 2, 1), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 2, 3, 4)},
    ),
    "hiera_tiny_224": (64, {"img_size": 64, "embed_dim": 16, "stages": (1, 1, 2, 1)}),
    "levit_128s": (
        64,
        {
            "img_size": 64, "embed_dim": (16, 24, 32), "key_dim": 8, "num_heads": (2, 2, 2),
            "depth": (1, 1, 1),
        },
    ),
    "pvt_v2_b0": (
        64,
        {"depths": (1, 1, 1, 2), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 1, 2, 2)},
    ),
    "twins_svt_small": (
        64,
        {
            "img_size": 64, "embed_dims": (8, 16, 24, 32), "depths": (1,) * 4,
            "num_heads": (1, 1, 2, 2),
        },
    ),
    "visformer_tiny": (64, {"img_size": 64, "embed_dim": 32, "depth": (1, 1, 1), "num_heads": 2}),
    "tiny_vit_5m_224": (
        64,
        {
            "depths": (1,) * 4, "embed_dims": (8, 16, 24, 32), "num_heads": (1,) * 4,
            "window_sizes": (4,) * 4,
        },
    ),
    "metaformer": (32, {"depths": (1, 1, 1, 2), "dims": (8, 16, 24, 32)}),
    "nest": (
        64,
        {
            "img_size": 64, "num_levels": 3, "embed_dims": (8, 16, 16), "num_heads": (1, 2, 2),
            "depths": (1, 1, 2),
        },
    ),
    "focalnet": (64, {"depths": (1, 1, 2, 1), "embed_dim": 8}),
    "volo": (64, {"img_size": 64, "layers": (1, 1, 1, 2), "embed_dims": (16, 32, 32, 32),
                  "num_heads": (1, 2, 2, 2)}),
}  # fmt: skip
"""By name of a timm model, or of a class of timm: side of the image in pixels, options."""

_CLASSES: dict[str, Callable[..., nn.Module]] = {
    "focalnet": FocalNet,
    "gmlp": MlpMixer,
    "metaformer": MetaFormer,
    "mixer": MlpMixer,
    "nest": Nest,
    "resmlp": MlpMixer,
    "vgg": VGG,
    "volo": VOLO,
}
_WITHOUT_DROP_PATH = {"dla34", "vgg", "efficientvit_b0", "densenet121", "sequencer2d_s"}


def build(name: str, drop_path_rate: float = 0.3) -> nn.Module:
    """Returns the network with random weights from the global generator."""
    _, options = FAMILIES[name]
    options = {"num_classes": 0, **options}
    if name not in _WITHOUT_DROP_PATH:
        options["drop_path_rate"] = drop_path_rate
    make = _CLASSES.get(name) or partial(timm.create_model, name)
    module: nn.Module = make(**options)
    return module
