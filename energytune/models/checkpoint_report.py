"""What to tell a user whose checkpoint does not fit."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn

__all__ = ["misfit_text"]

_N_SHOWN = 4


def misfit_text(
    path: Path,
    module: nn.Module,
    tensors: dict[str, Tensor],
    coverage: dict[str, dict[str, str]],
    best: str,
    optional: set[str],
) -> str:
    """Returns how much of a checkpoint fits under which prefix, and what does not.

    Args:
        path: The file.
        module: The backbone it should fit.
        tensors: Everything in the file.
        coverage: By prefix, the backbone's names that are there and their full names.
        best: The prefix that covers most.
        optional: The backbone's names that may be missing.
    """
    own = module.state_dict()
    needed = own.keys() - optional
    kind = type(module).__name__
    found = coverage.get(best, {})
    misshapen = sorted(n for n in needed & found.keys() if tensors[found[n]].shape != own[n].shape)
    missing = sorted(needed - found.keys())
    n_fit = len(needed) - len(misshapen) - len(missing)
    lines = [
        f"The checkpoint {str(path)!r} does not fit the backbone ({kind}): "
        f"{n_fit} of {len(needed)} tensors fit under the prefix {best!r}."
    ]
    if missing:
        lines.append(f"Missing are {len(missing)}: {_some(missing)}.")
    if misshapen:
        shapes = [
            f"{n} is {_shape(tensors[found[n]])} in the file, {_shape(own[n])} in the backbone"
            for n in misshapen
        ]
        lines.append(f"Of another shape are {len(misshapen)}: {_some(shapes)}.")
    others = sorted(coverage.keys() - {best}, key=lambda p: -len(coverage[p]))
    others = [p for p in others if len(coverage[p]) * 10 >= len(needed)]
    if others:
        lines.append(
            "Other prefixes: "
            + _some([f"{p!r} with {len(coverage[p].keys() & needed)} names" for p in others])
            + "."
        )
    lines.append(f"The file holds {len(tensors)} tensors and looks like {_looks_like(tensors)}.")
    if not missing and not misshapen:
        lines.append(
            f"The prefix {best!r} names a momentum or target network, which is never taken by "
            f"itself; in Python, load_checkpoint(..., prefix={best!r}) takes it."
        )
    else:
        lines.append("Choose the --backbone it was trained for, or --weights none.")
    return " ".join(lines)


def _looks_like(tensors: dict[str, Tensor]) -> str:
    """Returns a guess at the architecture, or the first names."""
    if not tensors:
        return "no set of weights at all"
    stages = {
        stage: 1 + max(int(b) for b in blocks)
        for stage in (1, 2, 3, 4)
        if (blocks := _indices(tensors, rf"layer{stage}\.(\d+)\."))
    }
    if len(stages) == 4:
        bottleneck = any(name.endswith("layer4.0.conv3.weight") for name in tensors)
        counts = "-".join(str(n) for n in stages.values())
        return f"a ResNet of {counts} {'bottleneck' if bottleneck else 'basic'} blocks"
    layers = _indices(tensors, r"blocks\.(\d+)\.attn\.") or _indices(tensors, r"layer\.(\d+)\.")
    width = [t.shape[-1] for name, t in tensors.items() if name.endswith("cls_token")]
    if layers and width:
        return f"a vision transformer of {1 + max(map(int, layers))} blocks, width {width[0]}"
    return f"this: {_some(list(tensors))}"


def _indices(tensors: dict[str, Tensor], pattern: str) -> set[str]:
    return {found[1] for name in tensors if (found := re.search(pattern, name))}


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"


def _some(texts: list[str]) -> str:
    more = len(texts) - _N_SHOWN
    return ", ".join(texts[:_N_SHOWN]) + (f" and {more} more" if more > 0 else "")
