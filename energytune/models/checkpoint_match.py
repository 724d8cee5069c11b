"""Which of a checkpoint's networks is the backbone: found by names, shapes and preference."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from energytune.models.checkpoint_spellings import PLAIN, spellings

__all__ = ["Match", "find_matches", "names_rejected", "optional_names", "rivals_of"]

_PREFERRED = (
    "encoder_q", "base_encoder", "online", "ema", "teacher", "student", "backbone", "encoder",
)  # fmt: skip
"""Of several networks that fit, the one to take, best first."""
_REJECTED = (
    "encoder_k", "key", "k", "momentum", "moco_encoder", "target", "queue", "projector",
)  # fmt: skip
"""Networks that are never taken by themselves; the third last is the momentum encoder of VISSL."""
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What DDP, ``torch.compile``, FSDP and activation checkpointing put into names, anywhere."""
_ROOT_LAYERS = {"dist_token", "reg_token", "register_tokens", "norm_pre"}
"""Beside the blocks of a vision transformer; one without them computes something else."""


@dataclass(frozen=True, eq=False)
class Match:
    """How much of a backbone is there under one prefix, in one spelling.

    Attributes:
        prefix: What stands before the backbone's names; "" or ends with a dot.
        spelling: What the names are like, see :mod:`energytune.models.checkpoint_spellings`.
        sources: Full names in the file by the backbone's names.
        fitting: Those of ``sources`` whose tensors have the backbone's shape.
        missing: The backbone's names that must be there and don't fit.
        extra: Full names of weights within the same layers that the backbone does not have, as a
            deeper network has.
    """

    prefix: str
    spelling: str
    sources: dict[str, str]
    fitting: dict[str, str]
    missing: frozenset[str]
    extra: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every tensor of the backbone is there, and none that it lacks."""
        return not self.missing and not self.extra

    @property
    def preference(self) -> tuple[bool, int]:
        """Sorts networks that fit, the smallest first."""
        places = [place for place, word in enumerate(_PREFERRED) if _names(self.prefix, word)]
        return names_rejected(self.prefix), min(places, default=len(_PREFERRED))


def find_matches(tensors: Mapping[str, Tensor], module: nn.Module) -> list[Match]:
    """Returns all prefixes under which some of the backbone's names are, the best first.

    Best is what lacks least; then what has no weights that the backbone lacks; then preference
    (query encoder, online, ema, teacher, ...; momentum networks last); then the outermost.

    Args:
        tensors: Everything in the file.
        module: The backbone.
    """
    own = module.state_dict()
    needed = own.keys() - optional_names(module)
    matches = []
    for (prefix, spelling), sources in _sources(tensors, own).items():
        fitting = {n: s for n, s in sources.items() if _can_hold(own[n], tensors[s])}
        missing = frozenset(needed - fitting.keys())
        extra = () if missing else _extra(tensors, module, prefix, sources, needed)
        matches.append(Match(prefix, spelling, sources, fitting, missing, extra))
    return sorted(matches, key=_rank)


def rivals_of(best: Match, matches: Iterable[Match], tensors: Mapping[str, Tensor]) -> list[Match]:
    """Returns other networks that fit as well as ``best`` and differ from it.

    A network inside of the best one's prefix is no rival, nor is a second copy of it.
    """
    return [
        other
        for other in matches
        if other is not best
        and other.fits
        and other.preference == best.preference
        and not (other.prefix != best.prefix and other.prefix.startswith(best.prefix))
        and any(
            not torch.equal(tensors[other.fitting[name]], tensors[source])
            for name, source in best.fitting.items()
            if name in other.fitting
        )
    ]


def optional_names(module: nn.Module) -> set[str]:
    """Returns the names that a checkpoint may lack: counters of batches and timm's classifier."""
    starts = tuple(f"{classifier}." for classifier in _classifiers(module))
    return {
        name
        for name in module.state_dict()
        if name.endswith("num_batches_tracked") or name.startswith(starts)
    }


def names_rejected(prefix: str) -> bool:
    """Returns whether the prefix is that of a momentum or target network, or of no backbone."""
    return any(_names(prefix, word) for word in _REJECTED)


def _classifiers(module: nn.Module) -> tuple[str, ...]:
    """Returns the paths of timm's classifiers, as its models tell them."""
    config = getattr(module, "pretrained_cfg", None) or {}
    classifiers = config.get("classifier") or ()
    return (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)


def _sources(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[tuple[str, str], dict[str, str]]:
    """Returns by prefix and spelling which of the backbone's names are there, with full names."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    tables = spellings(own)
    for full_name in tensors:
        parts = full_name.split(".")
        for n_prefix in range(len(parts)):
            as_is = ".".join(parts[n_prefix:])
            bare = as_is if parts[n_prefix] in _WRAPPERS else _without_wrappers(as_is)
            before = "".join(f"{part}." for part in parts[:n_prefix])
            for spelling, names in tables.items():
                if as_is in names:
                    found[before, spelling][names[as_is]] = full_name
                elif bare in names:
                    found[before, spelling].setdefault(names[bare], full_name)
    return found


def _can_hold(own: Tensor, tensor: Tensor) -> bool:
    """Returns whether a tensor can be copied as it is: not quantised, sparse or without data."""
    return (
        tensor.shape == own.shape
        and tensor.layout == torch.strided
        and not tensor.is_meta
        and tensor.is_floating_point() == own.is_floating_point()
        and tensor.is_complex() == own.is_complex()
        and not tensor.is_quantized
    )


def _extra(
    tensors: Mapping[str, Tensor],
    module: nn.Module,
    prefix: str,
    sources: Mapping[str, str],
    needed: Iterable[str],
) -> tuple[str, ...]:
    """Returns what a file has beyond the backbone, within layers of the same names.

    All of a ResNet18 is found in a ResNet34 and fits; it is another network all the same. Heads
    have layers of their own and are not looked at.
    """
    layers = {_layer(sources[name], prefix) for name in needed} | _ROOT_LAYERS
    used = set(sources.values())
    # a classifier that was taken out leaves an Identity: ``classifier.1``, ``head.fc``
    removed = [
        *_classifiers(module),
        *(
            name
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Identity) and name.count(".") < 2 and name not in _ROOT_LAYERS
        ),
    ]
    buffers = {name for name, _ in module.named_buffers()}  # also those that are not saved any more
    extra = []
    for name, tensor in tensors.items():
        if not name.startswith(prefix) or name in used or not tensor.is_floating_point():
            continue
        bare = _without_wrappers(name[len(prefix) :])
        if _layer(name, prefix) not in layers or bare in buffers:
            continue
        if not any(bare.startswith(f"{head}.") for head in removed if head):
            extra.append(name)
    return tuple(extra)


def _layer(full_name: str, prefix: str) -> str:
    return full_name[len(prefix) :].partition(".")[0]


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _rank(match: Match) -> tuple[int, bool, tuple[bool, int], int, bool, str]:
    """Returns a sort key: the best match is the smallest."""
    return (
        len(match.missing),
        bool(match.extra),
        match.preference,
        len(match.prefix),
        match.spelling != PLAIN,
        match.prefix,
    )


def _names(prefix: str, word: str) -> bool:
    """Returns whether a component of the prefix contains ``word`` between underscores."""
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", prefix).lower()
    return any(f"_{word}_" in f"_{part}_" for part in snake_case.split("."))
