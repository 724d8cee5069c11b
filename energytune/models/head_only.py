"""A head without its backbone, for probing on features that are cached."""

from __future__ import annotations

from torch import nn

from energytune.models.assemble import TaskModel
from energytune.models.cut import NoTail
from energytune.models.heads import create_head
from energytune.seeds import derive_seed

__all__ = ["head_model"]


def head_model(head_arch: str, n_features: int, n_outputs: int, *, seed: int) -> TaskModel:
    """Returns a model whose backbone passes features on, (N, D) -> (N, K).

    Its head is that of :func:`~energytune.models.build_model` at ``reinit_depth = 0`` with the
    same seed, bit for bit; the backbone is not copied, so that many heads fit into memory.

    Args:
        head_arch: ``"linear"`` or ``"mlp"``.
        n_features: Width D of the features.
        n_outputs: Width K of the logits.
        seed: Seed of the head's weights.

    Raises:
        UnknownNameError: If there is no such head.
    """
    head = create_head(head_arch, n_features, n_outputs, seed=derive_seed(seed, "head"))
    nothing = nn.Identity()
    spec = {"head_arch": head_arch, "n_outputs": n_outputs, "reinit_depth": 0}
    model = TaskModel(nothing, head, cut=NoTail(nothing), spec=spec)
    model.eval()
    return model
