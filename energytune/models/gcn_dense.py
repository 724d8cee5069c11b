"""The graph network without graphs: the same sums as products of dense matrices.

Message passing over lists of edges has as many rows as the data say, which a traced graph can't
hold. With the neighbours as a matrix (B, S, S) all shapes follow from the input's. It costs more
memory and is meant for exported models.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from energytune.models.assemble import TaskModel

__all__ = ["DenseGCN", "traceable"]


def traceable(model: nn.Module) -> nn.Module:
    """Returns a network that ``torch.export`` can trace: the model itself, unless it has graphs.

    Args:
        model: In evaluation mode; it is not changed.
    """
    if not isinstance(model, TaskModel) or not hasattr(model.backbone, "atom_encoder"):
        return model
    return nn.Sequential(DenseGCN(model.backbone), copy.deepcopy(model.head)).eval()


class DenseGCN(nn.Module):
    """A :class:`~energytune.models.gcn.GCN` in evaluation mode, without lists of edges.

    Args:
        gcn: The network; its weights are copied.
    """

    _starts: Tensor

    def __init__(self, gcn: nn.Module) -> None:
        super().__init__()
        own = copy.deepcopy(gcn)
        self.encoder = cast(nn.Module, own.atom_encoder)
        self.convs = cast(nn.ModuleList, own.convs)
        self.batch_norms = cast(nn.ModuleList, own.batch_norms)
        self.register_buffer("_starts", cast(Tensor, self.encoder._starts).clone())

    def forward(self, dense: Tensor) -> Tensor:
        """Returns features, (B, D) float32, of molecules, (B, S, 9 + 1 + M) float32."""
        n_features = len(self._starts)
        is_atom = dense[..., n_features : n_features + 1]
        table = torch.cat([part.get_parameter("weight") for part in self._tables.children()])
        numbers = dense[..., :n_features].long() + self._starts
        atoms = F.embedding(numbers, table).sum(-2) * is_atom
        mixing = _mixing(dense[..., n_features + 1 :], is_atom)
        last = len(self.convs) - 1
        for layer, (conv, norm) in enumerate(zip(self.convs, self.batch_norms, strict=True)):
            atoms = mixing @ cast(nn.Module, conv.lin)(atoms) + cast(Tensor, conv.bias)
            atoms = norm(atoms.flatten(0, 1)).view(atoms.shape)
            atoms = torch.relu(atoms) if layer < last else atoms
        pooled: Tensor = (atoms * is_atom).sum(1) / is_atom.sum(1).clamp_min(1.0)
        return pooled

    @property
    def _tables(self) -> nn.Module:
        return cast(nn.Module, self.encoder.atom_embedding_list)


def _mixing(neighbours: Tensor, is_atom: Tensor) -> Tensor:
    """Returns the normalised adjacency with self-loops, (B, S, S).

    Args:
        neighbours: Slots of neighbours plus 1, 0 for none, (B, S, M).
        is_atom: 1 or 0, (B, S, 1).
    """
    slots = torch.arange(1, neighbours.shape[1] + 1, device=neighbours.device)
    adjacent = (neighbours.long().unsqueeze(-1) == slots).to(torch.float32).sum(-2)
    adjacent = adjacent + torch.diag_embed(is_atom.squeeze(-1))
    scale = adjacent.sum(-1, keepdim=True).clamp_min(1.0).rsqrt()
    return scale * adjacent * scale.transpose(1, 2)
