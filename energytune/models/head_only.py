"""A head without its backbone, for probing on features that are cached."""

from __future__ import annotations

from torch import nn

from energytune.models.assemble import TaskModel
from energytune.models.cut import NoTail
from energytune.models.heads import MapSizes, create_head
from energytune.seeds import derive_seed

__all__ = ["head_model"]


def head_model(
    head_arch: str,
    n_features: int,
    n_outputs: int,
    *,
    seed: int,
    maps: MapSizes | None = None,
) -> TaskModel:
    """Returns a model whose backbone passes features on: (N, D) -> (N, K), or maps to maps.

    Its head is that of :func:`~energytune.models.build_model` at ``reinit_depth = 0`` with the
    same seed, bit for bit; the backbone is not copied, so that many heads fit into memory.

    Args:
        head_arch: ``"linear"`` or ``"mlp"``; also ``"aspp"`` for maps.
        n_features: Width D of the features.
        n_outputs: Width K of the logits.
        seed: Seed of the head's weights.
        maps: Sizes of the maps of features and of the logits; None for vectors.

    Raises:
        UnknownNameError: If there is no such head.
    """
    head = create_head(head_arch, n_features, n_outputs, seed=derive_seed(seed, "head"), maps=maps)
    nothing = nn.Identity()
    spec = {"head_arch": head_arch, "n_outputs": n_outputs, "reinit_depth": 0}
    model = TaskModel(nothing, head, cut=NoTail(nothing), spec=spec)
    model.eval()
    return model
