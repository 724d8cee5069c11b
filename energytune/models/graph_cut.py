"""Where a graph network is cut for ``reinit_depth``: between two of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from energytune.models.cut import check_depth
from energytune.models.graph_layout import pack, unpack

if TYPE_CHECKING:
    from energytune.models.gcn import GCN

__all__ = ["GraphCut"]


class GraphCut:
    """The cut of a :class:`~energytune.models.gcn.GCN` before its last layers.

    What flows through it keeps the layout of the input, with the layer's values in the place of
    the atom features: the tail needs the bonds as well.

    Attributes:
        tail_state_names: Names in the module's ``state_dict`` that belong to the last layers.
        tail_modules: None: the layers want the bonds too.
    """

    tail_modules: tuple[nn.Module, ...] | None = None

    def __init__(self, module: GCN, depth: int) -> None:
        """Cuts before the last ``depth`` layers, 1 <= depth <= number of layers.

        Raises:
            CutError: There are fewer layers.
        """
        check_depth(type(module).__name__, depth, module.n_blocks)
        self._module = module
        self._first = module.n_blocks - depth
        tail = range(self._first, module.n_blocks)
        self._tail = module.layer_modules(tail)
        prefixes = tuple(f"{part}.{layer}." for part in ("convs", "batch_norms") for layer in tail)
        self.tail_state_names = frozenset(
            name for name in module.state_dict() if name.startswith(prefixes)
        )

    def prefix(self, x: Tensor) -> Tensor:
        """Returns the atoms before the cut, (B, S, D + 1 + M), of molecules (B, S, 9 + 1 + M)."""
        module = self._module
        atoms, graphs = module.embed(x)
        return pack(module.propagate(atoms, graphs, last=self._first), graphs)

    def resume(self, z: Tensor) -> Tensor:
        """Returns features (B, D) from the output of :meth:`prefix`."""
        module = self._module
        atoms, graphs = unpack(z, module.num_features)
        return module.pool(module.propagate(atoms, graphs, first=self._first), graphs)

    def train_tail(self, train: bool) -> None:
        """Puts the prefix into evaluation mode and the last layers into training mode or not."""
        self._module.eval()
        for part in self._tail:
            part.train(train)

    def values(self, z: Tensor) -> Tensor:
        """Returns the atoms' values, (B, S, D), without flags and neighbours."""
        return z[..., : self._module.num_features]
