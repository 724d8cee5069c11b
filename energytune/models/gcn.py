"""The graph network of the paper's molecules: message passing by GCN layers, mean pooling.

Layers, batching and pooling are torch-geometric's ([Kipf2017]_, its ``GCNConv``); the atom
embedding and the order of layer, batch normalisation and ReLU are those of ogb's reference
network ([Hu2020]_), whose names the weights have. Bonds carry no features here.

.. [Kipf2017] T. N. Kipf, M. Welling. Semi-supervised classification with graph convolutional
   networks. ICLR 2017.
.. [Hu2020] W. Hu et al. Open Graph Benchmark: datasets for machine learning on graphs. NeurIPS
   2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from energytune.models.cut import Cut, NoTail
from energytune.models.graph_cut import GraphCut
from energytune.models.graph_layout import Graphs, unpack

with warnings.catch_warnings():
    # it compiles with torch.jit when it is imported, of which today's torch warns
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric.nn import GCNConv, global_mean_pool
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

__all__ = ["ATOM_CATEGORIES", "ATOM_VOCABULARY", "GCN", "GRAPH_BACKBONES", "AtomEncoder"]

ATOM_VOCABULARY = "ogb-1"
"""Names how atoms are numbered; weights trained on another numbering don't fit."""

ATOM_CATEGORIES = (119, 5, 12, 12, 10, 6, 6, 2, 2)
"""How many values each of ogb's nine atom features takes, from 0: element (carbon is 5),
chirality, degree with hydrogens, formal charge + 5, hydrogens, radical electrons, hybridisation,
aromatic, in a ring."""


class AtomEncoder(nn.Module):
    """Sum of one embedding for each of the nine atom features.

    Args:
        width: D.
    """

    _starts: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.atom_embedding_list = nn.ModuleList(nn.Embedding(n, width) for n in ATOM_CATEGORIES)
        for table in self._tables():
            nn.init.xavier_uniform_(table)
        starts = torch.tensor([0, *ATOM_CATEGORIES[:-1]]).cumsum(0)
        self.register_buffer("_starts", starts, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (N, D) of category numbers, (N, 9), of any number type."""
        table = torch.cat(self._tables())
        return F.embedding_bag(features.long() + self._starts, table, mode="sum")

    def _tables(self) -> list[Tensor]:
        return [part.get_parameter("weight") for part in self.atom_embedding_list]


class GCN(nn.Module):
    """Layers of message passing over atoms, mean-pooled; each layer is a block.

    Inputs are dense, as :mod:`energytune.models.graph_layout` says, with ogb's nine features an
    atom. A molecule without atoms has the features 0.

    Args:
        width: Width of every layer.
        n_layers: Number of layers, >= 1.
        batch_norm: Whether each layer is followed by batch normalisation.
        dropout: Share of activations dropped after each layer, in [0, 1).

    Attributes:
        vocabulary: How atoms are numbered.
        num_features: Width D of the features.
        input_shape: Shape of one input, for example: 16 slots, 6 neighbours. Any other serves.
        n_blocks: Number of layers.
    """

    vocabulary = ATOM_VOCABULARY
    input_shape = (16, len(ATOM_CATEGORIES) + 1 + 6)

    def __init__(
        self,
        width: int = 300,
        n_layers: int = 5,
        batch_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_features = width
        self.n_blocks = n_layers
        self.dropout = dropout
        self.atom_encoder = AtomEncoder(width)
        # normalised once for all layers in propagate, not once a layer
        self.convs = nn.ModuleList(GCNConv(width, width, normalize=False) for _ in range(n_layers))
        self.batch_norms = nn.ModuleList(
            nn.BatchNorm1d(width) if batch_norm else nn.Identity() for _ in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns features, (B, D) float32, of molecules, (B, S, 9 + 1 + M) float32."""
        atoms, graphs = self.embed(x)
        return self.pool(self.propagate(atoms, graphs), graphs)

    def embed(self, x: Tensor) -> tuple[Tensor, Graphs]:
        """Returns the embedded atoms, (N, D), and the graphs."""
        features, graphs = unpack(x, len(ATOM_CATEGORIES))
        return self.atom_encoder(features), graphs

    def propagate(
        self, atoms: Tensor, graphs: Graphs, first: int = 0, last: int | None = None
    ) -> Tensor:
        """Returns the atoms, (N, D), after the layers ``first`` to ``last`` (exclusive)."""
        edges, weights = gcn_norm(graphs.edge_index, None, len(atoms), dtype=atoms.dtype)
        for layer in range(self.n_blocks)[first:last]:
            conv, norm = self.convs[layer], self.batch_norms[layer]
            atoms = norm(conv(atoms, edges, weights))
            if layer < self.n_blocks - 1:
                atoms = torch.relu(atoms)
            # the layer's own mode counts: at a cut the tail trains and the rest does not
            atoms = F.dropout(atoms, self.dropout, training=bool(conv.training))
        return atoms

    def pool(self, atoms: Tensor, graphs: Graphs) -> Tensor:
        """Returns the mean over the atoms of each molecule, (B, D); 0 where there are none."""
        pooled: Tensor = global_mean_pool(atoms, graphs.batch, size=graphs.n_graphs)
        return pooled

    def cut_before(self, depth: int) -> Cut:
        """Returns the cut before the last ``depth`` layers, 0 <= depth <= n_blocks."""
        return GraphCut(self, depth) if depth else NoTail(self)

    def layer_modules(self, layers: Iterable[int]) -> list[nn.Module]:
        """Returns the modules of some layers."""
        return [part[layer] for layer in layers for part in (self.convs, self.batch_norms)]


GRAPH_BACKBONES: dict[str, Callable[[], GCN]] = {
    "gcn": lambda: GCN(300, 5),
    "gcn-small": lambda: GCN(64, 5, batch_norm=False),
}
"""Graph networks by name; each call builds one with random weights.

``gcn`` is the paper's, ``gcn-small`` that of the embedded molecules: without batch normalisation,
which blurs the effect that a search looks for at this size.
"""
