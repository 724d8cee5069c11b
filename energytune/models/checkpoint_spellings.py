"""What other libraries call the tensors of a ResNet or a vision transformer of timm.

A spelling gives every tensor of a backbone the name that it has in a file. Only names differ:
the same layers in the same order, so that the weights mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["MMPRETRAIN", "PLAIN", "SEQUENTIAL", "TF_SIMCLR", "spellings"]

PLAIN = "plain"
SEQUENTIAL = "sequential"
"""A ResNet whose children were put into an ``nn.Sequential``: lightly, BYOL."""
TF_SIMCLR = "simclr converter"
"""SimCLR v2 converted from TensorFlow: ``net.2.blocks.0.net.4.weight``."""
MMPRETRAIN = "mmpretrain"
"""Vision transformers of mmselfsup, mmcls and mmpretrain: ``layers.0.ffn.layers.1.weight``."""

_RENAMED: dict[str, tuple[tuple[str, str], ...]] = {
    SEQUENTIAL: (
        (r"conv1\.", "0."), (r"bn1\.", "1."), (r"layer1\.", "4."), (r"layer2\.", "5."),
        (r"layer3\.", "6."), (r"layer4\.", "7."),
    ),
    TF_SIMCLR: (
        (r"conv1\.", "net.0.0."),
        (r"bn1\.", "net.0.1.0."),
        # convolutions and their normalisations alternate: 0, 2, 4 and 1, 3, 5
        (r"layer(\d)\.(\d+)\.conv1\.", r"net.\1.blocks.\2.net.0."),
        (r"layer(\d)\.(\d+)\.conv2\.", r"net.\1.blocks.\2.net.2."),
        (r"layer(\d)\.(\d+)\.conv3\.", r"net.\1.blocks.\2.net.4."),
        (r"layer(\d)\.(\d+)\.bn1\.", r"net.\1.blocks.\2.net.1.0."),
        (r"layer(\d)\.(\d+)\.bn2\.", r"net.\1.blocks.\2.net.3.0."),
        (r"layer(\d)\.(\d+)\.bn3\.", r"net.\1.blocks.\2.net.5.0."),
        (r"layer(\d)\.(\d+)\.downsample\.0\.", r"net.\1.blocks.\2.projection.shortcut."),
        (r"layer(\d)\.(\d+)\.downsample\.1\.", r"net.\1.blocks.\2.projection.bn.0."),
    ),
    MMPRETRAIN: (
        (r"patch_embed\.proj\.", "patch_embed.projection."),
        (r"blocks\.(\d+)\.norm(\d)\.", r"layers.\1.ln\2."),
        (r"blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
        (r"blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
        (r"blocks\.", "layers."),
        (r"norm\.", "ln1."),
    ),
}  # fmt: skip
"""By spelling: how a name of timm's begins, and how it begins in the file; the first one holds."""


def spellings(own: Collection[str]) -> dict[str, dict[str, str]]:
    """Returns by spelling the backbone's names by the names they have in a file.

    Args:
        own: The names of the backbone's ``state_dict``.
    """
    found = {PLAIN: {name: name for name in own}}
    if "layer4.0.conv1.weight" in own:
        found |= {spelling: _renamed(own, spelling) for spelling in (SEQUENTIAL, TF_SIMCLR)}
    if "blocks.0.norm1.weight" in own and "patch_embed.proj.weight" in own:
        found[MMPRETRAIN] = _renamed(own, MMPRETRAIN)
    return found


def _renamed(own: Collection[str], spelling: str) -> dict[str, str]:
    names = {}
    for name in own:
        for begin, begin_in_file in _RENAMED[spelling]:
            renamed, n_hits = re.subn(rf"^{begin}", begin_in_file, name)
            if n_hits:
                break
        names[renamed] = name
    return names
