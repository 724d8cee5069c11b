"""Where a network is cut for ``reinit_depth``: a frozen prefix and a tail that joins the head.

``resume(prefix(x))`` equals the network's own output. The prefix is run once and its output
cached; the tail is trained in head probing together with the head.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from energytune.errors import CutError

__all__ = ["Cut", "CutsItself", "NoTail", "SequentialCut", "check_depth", "own_blocks"]


class Cut(Protocol):
    """A module seen as a prefix and a tail of its last blocks.

    Attributes:
        tail_state_names: Names in the module's ``state_dict`` that belong to the tail.
        tail_modules: The tail as modules applied one after the other; None if it is not that.
    """

    tail_state_names: frozenset[str]
    tail_modules: tuple[nn.Module, ...] | None

    def prefix(self, x: Tensor) -> Tensor:
        """Returns what flows through the cut, (N, ...), for inputs (N, ...)."""
        ...

    def resume(self, z: Tensor) -> Tensor:
        """Returns features (N, D) from the output of :meth:`prefix`; costs the tail only."""
        ...

    def train_tail(self, train: bool) -> None:
        """Puts the prefix into evaluation mode and the tail into training mode or not."""
        ...

    def values(self, z: Tensor) -> Tensor:
        """Returns the part of the output of :meth:`prefix` that is features.

        All of it, but for graphs, whose neighbours travel with their features.
        """
        ...


@runtime_checkable
class CutsItself(Protocol):
    """A network that knows how to be cut between its blocks.

    Attributes:
        n_blocks: Number of blocks.
    """

    n_blocks: int

    def cut_before(self, depth: int) -> Cut:
        """Returns its cut before the last ``depth`` blocks, 1 <= depth <= n_blocks."""
        ...


class NoTail:
    """The cut of ``reinit_depth = 0``: the whole network is the prefix.

    Attributes:
        tail_state_names: Empty.
        tail_modules: Empty.
    """

    tail_state_names: frozenset[str] = frozenset()
    tail_modules: tuple[nn.Module, ...] | None = ()

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def prefix(self, x: Tensor) -> Tensor:
        """Returns features, (N, D)."""
        features: Tensor = self._module(x)
        return features

    def resume(self, z: Tensor) -> Tensor:
        """Returns ``z`` itself."""
        return z

    def train_tail(self, train: bool) -> None:
        """Puts the whole module into evaluation mode."""
        self._module.eval()

    def values(self, z: Tensor) -> Tensor:
        """Returns ``z`` itself."""
        return z


class SequentialCut:
    """The cut of a module that is its ``blocks``, one after the other, and nothing else.

    Attributes:
        tail_state_names: Names in the module's ``state_dict`` that belong to the last blocks.
        tail_modules: The last blocks.
    """

    def __init__(self, module: nn.Module, depth: int) -> None:
        """Cuts before the last ``depth`` blocks, 1 <= depth <= number of blocks."""
        blocks = list(sequential_blocks(module) or ())
        check_depth(type(module).__name__, depth, len(blocks))
        first = len(blocks) - depth
        self._module = module
        self._prefix_blocks = blocks[:first]
        self._tail_blocks = blocks[first:]
        self.tail_modules: tuple[nn.Module, ...] | None = tuple(self._tail_blocks)
        tail_prefixes = tuple(f"blocks.{i}." for i in range(first, len(blocks)))
        self.tail_state_names = frozenset(
            name for name in module.state_dict() if name.startswith(tail_prefixes)
        )

    def prefix(self, x: Tensor) -> Tensor:
        """Returns the output of the blocks before the cut, (N, ...)."""
        for block in self._prefix_blocks:
            x = block(x)
        return x

    def resume(self, z: Tensor) -> Tensor:
        """Returns the output of the last block, (N, D)."""
        for block in self._tail_blocks:
            z = block(z)
        return z

    def train_tail(self, train: bool) -> None:
        """Puts the prefix into evaluation mode and the last blocks into training mode or not."""
        self._module.eval()
        for block in self._tail_blocks:
            block.train(train)

    def values(self, z: Tensor) -> Tensor:
        """Returns ``z`` itself."""
        return z


def sequential_blocks(module: nn.Module) -> nn.ModuleList | nn.Sequential | None:
    """Returns ``module.blocks`` if the module is flagged to be them and nothing else."""
    blocks = getattr(module, "blocks", None)
    if getattr(module, "sequential_blocks", False) is not True:
        return None
    return blocks if isinstance(blocks, nn.ModuleList | nn.Sequential) else None


def own_blocks(module: nn.Module) -> int | None:
    """Returns how many blocks a module tells of itself; None if that must be found out."""
    if (blocks := sequential_blocks(module)) is not None:
        return len(blocks)
    return module.n_blocks if isinstance(module, CutsItself) else None


def check_depth(name: str, depth: int, max_depth: int, problem: str = "") -> None:
    """Checks that a network can be cut ``depth`` blocks before its end.

    Args:
        name: Name of the backbone, for the message.
        depth: Wanted number of blocks.
        max_depth: Largest possible number of blocks.
        problem: Why it is not more, if that is not just the number of blocks.

    Raises:
        CutError: If ``depth`` lies outside [0, max_depth].
    """
    if not 0 <= depth <= max_depth:
        why = f" ({problem})" if problem else ""
        raise CutError(
            f"reinit_depth of backbone {name!r} must lie in [0, {max_depth}]{why}, got {depth}. "
            f"Use --fix reinit_depth=N or a space whose reinit_depth ends at {max_depth}."
        )
