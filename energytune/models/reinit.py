"""Reinitialising the last blocks with the architecture's own initialisers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from energytune.errors import CutError

__all__ = ["reinitialise", "seeded"]


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Returns ``build()`` under a seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


@torch.no_grad()
def reinitialise(
    module: nn.Module,
    names: frozenset[str],
    *,
    seed: int,
    fresh: Callable[[], nn.Module] | None,
) -> None:
    """Gives the named parameters and buffers fresh values, in place.

    A freshly built network of the same architecture is the surest source of "the architecture's
    own initialisers": many set weights from the root, knowing depth and position of a block.
    Where the network can't be built again, its modules' ``reset_parameters`` are called.

    Args:
        module: The network to change.
        names: Names in its ``state_dict``.
        seed: The same seed gives bit-equal values.
        fresh: Builds the same architecture with random weights; None if nobody knows how.

    Raises:
        CutError: If ``fresh`` is None and a layer has no ``reset_parameters``.
    """
    if fresh is not None:
        source = seeded(fresh, seed).state_dict()
        own = module.state_dict()
        for name in sorted(names):
            own[name].copy_(source[name])
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for path, layer in module.named_modules():
            start = f"{path}." if path else ""
            held = {start + name for name, _ in layer.named_parameters(recurse=False)}
            if not held & names:
                continue
            reset = getattr(layer, "reset_parameters", None)
            if not callable(reset) or held - names:
                raise CutError(
                    f"The layer {path!r} ({type(layer).__name__}) can't be reinitialised by itself:"
                    " it has no reset_parameters, or weights on both sides of the cut. Give it "
                    "one, or use reinit_depth = 0."
                )
            reset()
