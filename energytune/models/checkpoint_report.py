"""What to tell a user whose checkpoint does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from energytune.models.checkpoint_match import Match, names_rejected

__all__ = ["ambiguous_text", "misfit_text"]

_N_SHOWN = 4
_TORCHVISION_VITS = {768: "vit_b_", 1024: "vit_l_", 1280: "vit_h_"}


def misfit_text(
    path: Path,
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    matches: Sequence[Match],
    best: Match,
    optional: set[str],
) -> str:
    """Returns how much of a checkpoint fits under which prefix, and what does not.

    Args:
        path: The file.
        module: The backbone it should fit.
        tensors: Everything in the file.
        matches: What was found under each prefix.
        best: The one that was chosen.
        optional: The backbone's names that may be missing.
    """
    own = module.state_dict()
    needed = own.keys() - optional
    misshapen = sorted((needed & best.sources.keys()) - best.fitting.keys())
    missing = sorted(needed - best.sources.keys())
    n_fit = len(needed) - len(misshapen) - len(missing)
    lines = [
        f"The checkpoint {str(path)!r} does not fit the backbone ({type(module).__name__}): "
        f"{n_fit} of {len(needed)} tensors fit under the prefix {best.prefix!r}."
    ]
    if missing:
        lines.append(f"Missing are {len(missing)}: {_some(missing)}.")
    if misshapen:
        told = [
            f"{n} is {_shape(tensors[best.sources[n]])} in the file, {_shape(own[n])} in the "
            "backbone"
            for n in misshapen
        ]
        lines.append(f"Of another shape or type are {len(misshapen)}: {_some(told)}.")
    if best.extra:
        lines.append(
            f"The file has {len(best.extra)} weights more in the same layers, which the backbone "
            f"would leave out, as of a deeper network: {_some(list(best.extra))}."
        )
    lines += _other_prefixes(matches, best, needed)
    looks_like, advice = _looks_like(tensors)
    lines.append(f"The file holds {len(tensors)} tensors and looks like {looks_like}.")
    if best.fits and names_rejected(best.prefix):
        lines.append(
            f"The prefix {best.prefix!r} names a momentum or target network, which is never taken "
            f"by itself; --checkpoint-prefix {best.prefix} takes it."
        )
    else:
        lines.append(advice or "Choose the --backbone it was trained for, or --weights none.")
    return " ".join(lines)


def ambiguous_text(path: Path, best: Match, rivals: Sequence[Match]) -> str:
    """Returns which networks fit equally well though they differ.

    Args:
        path: The file.
        best: The one that would be taken.
        rivals: The others.
    """
    prefixes = [repr(match.prefix) for match in (best, *rivals)]
    first = best.prefix or "''"
    return (
        f"The checkpoint {str(path)!r} holds {len(prefixes)} networks that all fit the backbone "
        f"and differ: {_some(prefixes)}. Say which one, as in --checkpoint-prefix "
        f"{first}; or save that one alone to a file of its own."
    )


def _other_prefixes(matches: Sequence[Match], best: Match, needed: set[str]) -> list[str]:
    """Returns a sentence on where else the backbone's names are, if many are there."""
    counts: dict[str, int] = {}
    for match in matches:
        n_names = len(match.sources.keys() & needed)
        if match.prefix != best.prefix and n_names * 10 >= len(needed):
            counts[match.prefix] = max(n_names, counts.get(match.prefix, 0))
    told = [f"{p!r} with {n} names" for p, n in sorted(counts.items(), key=lambda item: -item[1])]
    return [f"Other prefixes: {_some(told)}."] if told else []


def _looks_like(tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """Returns a guess at the architecture, or the first names; and what to do with it, if known."""
    if not tensors:
        return "no set of weights at all", ""
    stages = {
        stage: 1 + max(int(b) for b in blocks)
        for stage in (1, 2, 3, 4)
        if (blocks := _indices(tensors, rf"layer{stage}\.(\d+)\."))
    }
    if len(stages) == 4:
        bottleneck = any(name.endswith("layer4.0.conv3.weight") for name in tensors)
        counts = "-".join(str(n) for n in stages.values())
        return f"a ResNet of {counts} {'bottleneck' if bottleneck else 'basic'} blocks", ""
    if any(".self_attention.in_proj_weight" in name for name in tensors):
        return _torchvision_vit(tensors)
    if any(".attention.attention.query.weight" in name for name in tensors):
        return (
            "a vision transformer of Hugging Face's transformers",
            "Its query, key and value are separate tensors: convert it to timm's names first, or "
            "take timm's own weights of the same model (`energytune backbones vit`).",
        )
    layers = _indices(tensors, r"blocks\.(\d+)\.attn\.") or _indices(tensors, r"layers?\.(\d+)\.")
    width = [t.shape[-1] for name, t in tensors.items() if name.endswith("cls_token")]
    if layers and width:
        return f"a vision transformer of {1 + max(map(int, layers))} blocks, width {width[0]}", ""
    return f"this: {_some(list(tensors))}", ""


def _torchvision_vit(tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """Returns what to say of torchvision's vision transformer: timm's has other names."""
    patches = [
        t.shape for n, t in tensors.items() if n.endswith("conv_proj.weight") and t.ndim == 4
    ]
    width, patch = (patches[0][0], patches[0][-1]) if patches else (768, 16)
    name = f"torchvision/{_TORCHVISION_VITS.get(width, 'vit_b_')}{patch}"
    return (
        f"torchvision's vision transformer of width {width}",
        f"timm calls its tensors differently: choose torchvision's own, --backbone {name}.",
    )


def _indices(tensors: Mapping[str, Tensor], pattern: str) -> set[str]:
    return {found[1] for name in tensors if (found := re.search(pattern, name))}


def _shape(tensor: Tensor) -> str:
    """Returns a shape, and the type of number if that is no usual one for weights."""
    sizes = "x".join(str(size) for size in tensor.shape) or "scalar"
    return sizes if tensor.is_floating_point() else f"{sizes} ({tensor.dtype})"


def _some(texts: list[str]) -> str:
    more = len(texts) - _N_SHOWN
    return ", ".join(texts[:_N_SHOWN]) + (f" and {more} more" if more > 0 else "")
