"""Which parameters form a block, for families that do not tell it themselves, or tell it wrongly.

A table maps a group's name to a regular expression of parameter names, as timm's
``group_matcher`` does: the numbers that it captures order the blocks; a pair adds fixed numbers
behind them, by which layers between two stages join the first block of the later one. A group
whose name starts with "stem" is no block, and what nothing matches is neck or head.
"""

from __future__ import annotations

from torch import nn

__all__ = ["Patterns", "block_table", "torchvision_family"]

Patterns = dict[str, str | list[tuple[str, tuple[float, ...] | None]]]

_WITH_PREVIOUS = 99999.0
"""timm's mark for "together with the group before"."""

_TORCHVISION: dict[str, Patterns] = {
    "alexnet": {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\."},
    "convnext": {
        "stem": r"^features\.0\.",
        "blocks": [
            (r"^features\.2\.", (3, 0)),
            (r"^features\.4\.", (5, 0)),
            (r"^features\.6\.", (7, 0)),
            (r"^features\.(\d+)\.(\d+)\.", None),
        ],
    },
    "densenet": {
        "stem": r"^features\.(?:conv|norm)0\.",
        "blocks": [
            (r"^features\.denseblock(\d+)\.denselayer(\d+)\.", None),
            (r"^features\.transition(\d+)\.", (_WITH_PREVIOUS,)),
        ],
    },
    "efficientnet": {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\.(\d+)\.block\."},
    "googlenet": {
        "stem": r"^conv\d\.",
        "blocks": [
            (rf"^inception{stage}{letter}\.", (stage, place))
            for stage, letters in ((3, "ab"), (4, "abcde"), (5, "ab"))
            for place, letter in enumerate(letters)
        ],
    },
    "inception": {
        "stem": r"^Conv2d_",
        "blocks": [
            (rf"^Mixed_{stage}{letter}\.", (stage, place))
            for stage, letters in ((5, "bcd"), (6, "abcde"), (7, "abc"))
            for place, letter in enumerate(letters)
        ],
    },
    "maxvit": {"stem": r"^stem\.", "blocks": r"^blocks\.(\d+)\.layers\.(\d+)\."},
    "mnasnet": {
        "stem": r"^layers\.[0-7]\.",
        "blocks": r"^layers\.(\d+)\.(\d+)\.layers\.",
    },
    "mobilenetv2": {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\.conv\."},
    "mobilenetv3": {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\.block\."},
    "regnet": {
        "stem": r"^stem\.",
        "blocks": r"^trunk_output\.block(\d+)\.block\d+-(\d+)\.",
    },
    "resnet": {"stem": r"^conv1\.|bn1\.", "blocks": r"^layer(\d+)\.(\d+)\."},
    "shufflenetv2": {"stem": r"^conv1\.", "blocks": r"^stage(\d+)\.(\d+)\."},
    "squeezenet": {
        "stem": r"^features\.0\.",
        "blocks": r"^features\.(\d+)\.(?:squeeze|expand)",
    },
    "swin_transformer": {
        "stem": r"^features\.0\.",
        "blocks": [
            (r"^features\.2\.", (3, 0)),
            (r"^features\.4\.", (5, 0)),
            (r"^features\.6\.", (7, 0)),
            (r"^features\.(\d+)\.(\d+)\.", None),
        ],
    },
    "vgg": {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\."},
    "vision_transformer": {
        "stem": r"^class_token|conv_proj\.|encoder\.pos_embedding",
        "blocks": r"^encoder\.layers\.encoder_layer_(\d+)\.",
    },
}
"""By module of ``torchvision.models``."""

_TORCHVISION_STAGES: dict[str, Patterns] = {
    "densenet": {
        "stem": r"^features\.(?:conv|norm)0\.",
        "blocks": r"^features\.(?:denseblock|transition)(\d+)\.",
    },
}
"""Whole stages of those whose blocks can't be parted: dense layers hand on a list."""

_TIMM: dict[str, Patterns] = {
    # timm overlaps the class-attention blocks with the last others. They run behind them, and all
    # of them take what the last one gives: they belong to it.
    "cait": {
        "stem": r"^cls_token|pos_embed|patch_embed",
        "blocks": [(r"^blocks\.(\d+)\.", None), (r"^blocks_token_only\.", (_WITH_PREVIOUS,))],
    },
    # the blocks of a stage share their position encodings
    "coat": {
        "stem": r"^(?:cls_token|patch_embed|crpe|cpe)1",
        "blocks": r"^(?:cls_token|patch_embed|crpe|cpe|serial_blocks)(\d)",
        "parallel_blocks": r"^parallel_blocks\.(\d+)\.",
    },
    "csatv2": {"stem": r"^stem", "blocks": r"^stages\.(\d+)\.(\d+)\."},
    "metaformer": {
        "stem": r"^stem\.",
        "blocks": [
            (r"^stages\.(\d+)\.blocks\.(\d+)\.", None),
            (r"^stages\.(\d+)\.downsample\.", (0,)),
        ],
    },
    "pit": {
        "stem": r"^pos_embed|cls_token|patch_embed",
        "blocks": [
            (r"^transformers\.(\d+)\.blocks\.(\d+)\.", None),
            (r"^transformers\.(\d+)\.pool\.", (0,)),
        ],
    },
}
"""By module of ``timm.models``; these stand above what the model itself tells."""


def block_table(module: nn.Module, *, coarse: bool = False) -> Patterns | None:
    """Returns the table of the family that ``module`` is of, or inherits from; None without one.

    Args:
        module: The network.
        coarse: Whether whole stages are wanted; the table of blocks is given if there is no other.
    """
    for kind in type(module).__mro__:
        place, _, family = kind.__module__.rpartition(".")
        if place == "timm.models" and family in _TIMM:
            return _TIMM[family]
        if place == "torchvision.models" and family in _TORCHVISION:
            table = _TORCHVISION[family]
            return _TORCHVISION_STAGES.get(family, table) if coarse else table
    return None


def torchvision_family(module: nn.Module) -> str | None:
    """Returns the name of the module of ``torchvision.models`` that defines the network's class.

    Returns:
        None if it is not one of torchvision's, and does not inherit from one.
    """
    for kind in type(module).__mro__:
        place, _, family = kind.__module__.rpartition(".")
        if place == "torchvision.models" and family in _TORCHVISION:
            return family
    return None
