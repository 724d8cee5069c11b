"""Which parameter of a network belongs to which block.

A block is one fine group of timm's ``group_matcher(coarse=False)``, the grouping that timm uses
for layer-wise learning rates: a residual block, a transformer block. Stems are no blocks, and
neither are groups without a weight matrix (norms) or behind the last block (``conv_head``,
``fc_norm``, a classifier): these belong to whatever stands before or behind them. torchvision's
families, which have no such method, are grouped by a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from torch import nn

from energytune.errors import CutError
from energytune.models.block_tables import block_table
from energytune.models.networks import FlatOutput

__all__ = ["BlockLayout", "block_layout"]

_MATCH_PREVIOUS = 99999.0
"""timm's mark for "together with the group before"."""
_TRAILING = (float("inf"),)
"""The ordinal of what no pattern matches: neck and head."""

Ordinal = tuple[float, ...]


@dataclass(frozen=True)
class BlockLayout:
    """The groups of a network's parameters, in the order of its forward pass.

    Attributes:
        group_of: Group of each parameter by name; groups are numbered from 0.
        blocks: The groups that are blocks, ascending.
    """

    group_of: dict[str, int]
    blocks: tuple[int, ...]

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        """First and last group under every path that holds a parameter."""
        spans: dict[str, tuple[int, int]] = {}
        for name, group in self.group_of.items():
            path = name
            while True:
                low, high = spans.get(path, (group, group))
                spans[path] = (min(low, group), max(high, group))
                if not path:
                    break
                path = path.rpartition(".")[0]
        return spans

    def span(self, path: str) -> tuple[int, int] | None:
        """Returns the first and the last group of the parameters at or under ``path``.

        Args:
            path: Name of a module or a parameter; "" is the whole network.

        Returns:
            None if there is no parameter.
        """
        return self._spans.get(path)

    def first_group(self, path: str) -> int:
        """Returns the first group at, under or else around ``path``; -1 without any parameter."""
        while path and path not in self._spans:
            path = path.rpartition(".")[0]
        return self._spans.get(path, (-1, -1))[0]


def block_layout(module: nn.Module, *, coarse: bool = False) -> BlockLayout:
    """Returns which parameter belongs to which block.

    Args:
        module: A timm or torchvision model, a ResNet, or a module with its own ``group_matcher``.
        coarse: Whether whole stages are wanted in place of blocks; a network that tells only one
            grouping gives that one.

    Raises:
        CutError: If the module does not tell its blocks.
    """
    if isinstance(module, FlatOutput):
        raise CutError("its output is not (N, D), and what is flattened has no blocks")
    ordinal_of, is_stem = _matcher(module, coarse)
    shapes = {name: parameter.ndim for name, parameter in module.named_parameters()}
    ordinals = {name: ordinal_of(name) for name in shapes}
    numbers: dict[Ordinal, int] = {}
    for ordinal in sorted(set(ordinals.values())):
        merges = bool(numbers) and ordinal[-1] == _MATCH_PREVIOUS
        numbers[ordinal] = max(numbers.values(), default=-1) + (0 if merges else 1)
    group_of = {name: numbers[ordinal] for name, ordinal in ordinals.items()}
    blocks = {
        group_of[name]
        for name, ordinal in ordinals.items()
        if ordinal != _TRAILING and not is_stem(name) and shapes[name] >= 2
    }
    blocks -= {group_of[name] for name in ordinals if is_stem(name)}
    if not blocks:
        raise CutError(f"{type(module).__name__} names no blocks in its group_matcher")
    return BlockLayout(group_of, tuple(sorted(blocks)))


def _matcher(
    module: nn.Module, coarse: bool
) -> tuple[Callable[[str], Ordinal], Callable[[str], bool]]:
    """Returns functions from a parameter's name to its ordinal, and to whether it is stem."""
    matcher: Any
    if (table := block_table(module, coarse=coarse)) is not None:
        matcher = table
    elif hasattr(module, "group_matcher"):
        grouper: Any = module.group_matcher
        matcher = grouper(coarse=coarse)
    elif all(hasattr(module, name) for name in ("conv1", "layer1", "layer2", "layer3", "layer4")):
        matcher = {"stem": r"^conv1|bn1", "blocks": r"^layer(\d+)\.(\d+)"}
    else:
        raise CutError(
            f"{type(module).__name__} does not tell what its blocks are: give it an attribute "
            "blocks (nn.ModuleList, applied one after the other and nothing else) with "
            "sequential_blocks = True, or a group_matcher(coarse) as timm's models have it"
        )
    if callable(matcher):
        function = matcher

        def ordinal_of(name: str) -> Ordinal:
            value = function(name)
            return tuple(value) if isinstance(value, Iterable) else (float(value),)

        return ordinal_of, lambda name: ordinal_of(name) == (0.0,)
    patterns = _compile(matcher)

    def first_match(name: str) -> tuple[str, Ordinal] | None:
        for key, pattern, place, suffix in patterns:
            if found := pattern.match(name):
                parts = chain((place,), filter(None, found.groups()), suffix)
                return key, tuple(float(part) for part in parts)
        return None

    def ordinal_by_pattern(name: str) -> Ordinal:
        found = first_match(name)
        return found[1] if found else _TRAILING

    def is_stem(name: str) -> bool:
        found = first_match(name)
        return found is not None and found[0].startswith("stem")

    return ordinal_by_pattern, is_stem


def _compile(
    matcher: dict[str, Any],
) -> list[tuple[str, re.Pattern[str], int, tuple[float, ...]]]:
    """Returns (key, pattern, place of the key, suffix) of every pattern, in order."""
    patterns = []
    for place, (key, spec) in enumerate(matcher.items()):
        if spec is None:
            continue
        for pattern, suffix in [(spec, None)] if isinstance(spec, str) else spec:
            patterns.append((key, re.compile(pattern), place, tuple(suffix or ())))
    return patterns
