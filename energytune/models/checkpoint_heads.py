"""The number of attention heads, which no tensor's shape tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from energytune.errors import CheckpointError
from energytune.models.checkpoint_match import Match

__all__ = ["check_heads"]

_N_HEADS = 12
"""Of MoCo v3's smaller vision transformers."""
_WIDTHS = (192, 384)
"""Where timm's have fewer: 3 and 6. From width 768 on the two agree."""


def check_heads(path: Path, match: Match, tensors: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuses MoCo v3's small vision transformers for a backbone with fewer attention heads.

    All tensors would fit, and the network would compute something else.

    Args:
        path: The file.
        match: What would be loaded.
        tensors: Everything in the file.
        module: The backbone.

    Raises:
        CheckpointError: If the numbers of heads differ.
    """
    try:
        attention = module.get_submodule("blocks.0.attn")
    except AttributeError:
        return
    n_heads, positions = getattr(attention, "num_heads", None), match.fitting.get("pos_embed")
    if not isinstance(n_heads, int) or n_heads == _N_HEADS or positions is None:
        return
    width = tensors[positions].shape[-1]
    if width not in _WIDTHS or not _is_moco_v3(tensors, tensors[positions]):
        return
    raise CheckpointError(
        f"The checkpoint {str(path)!r} looks like MoCo v3's vision transformer of width {width}, "
        f"which has {_N_HEADS} attention heads; this backbone has {n_heads}, so that it would "
        "compute something else though all shapes fit. In Python, pass your own module: "
        f"create_backbone(timm.create_model(NAME, num_heads={_N_HEADS}, num_classes=0), "
        f"checkpoint=FILE, input_shape=(3, 224, 224)). If it was trained with {n_heads} heads, "
        f"load_checkpoint(..., prefix={match.prefix!r}) loads it."
    )


def _is_moco_v3(tensors: Mapping[str, Tensor], positions: Tensor) -> bool:
    """Returns whether a file is MoCo v3's own, or of a library that reimplements it.

    Its sine and cosine positions leave the class token at exactly 0; MAE's do as well, but have
    no momentum network with a predictor beside them.
    """
    names = list(tensors)
    if any("base_encoder." in name for name in names):
        return True
    fixed = not bool(positions.reshape(-1, positions.shape[-1])[0].any())
    return (
        fixed
        and any("momentum" in name for name in names)
        and any("predictor." in name for name in names)
    )
