"""Loading a checkpoint into a backbone: all of it, or a refusal that says what does not fit.

Self-supervised checkpoints hold several networks under prefixes of their own. Loading what
happens to match leaves a silently random model, so here every tensor must fit by name and shape.
A share of the weights is no safeguard: all of a ResNet's BatchNorm is 0.45 % of them.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from energytune.errors import CheckpointError
from energytune.models.checkpoint_file import file_sha256, read_tensors
from energytune.models.checkpoint_report import misfit_text

__all__ = ["CheckpointInfo", "load_checkpoint"]

_PREFERRED = (
    "encoder_q", "base_encoder", "online", "ema", "teacher", "student", "backbone", "encoder",
)  # fmt: skip
"""Of several networks that fit, the one to take, best first."""
_REJECTED = ("encoder_k", "momentum", "target", "queue", "projector")
"""Networks that are never taken by themselves."""
_SEQUENTIAL_RESNET = {
    "conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7",
}  # fmt: skip
"""A ResNet whose children were put into an ``nn.Sequential``: lightly, BYOL."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What was loaded from a checkpoint.

    Attributes:
        sha256: Hex digest of the file.
        prefix: What stood before the backbone's names.
        n_loaded: Number of the backbone's tensors that were loaded.
        n_total: Number of the backbone's tensors.
        ignored: Names in the checkpoint that were not used, at most 20.
    """

    sha256: str
    prefix: str
    n_loaded: int
    n_total: int
    ignored: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "ignored": list(self.ignored)}


def load_checkpoint(path: Path, module: nn.Module, prefix: str | None = None) -> CheckpointInfo:
    """Loads a checkpoint into ``module``, in place; on refusal the module is as it was.

    Args:
        path: safetensors, or PyTorch's format without pickled code.
        module: The network; its classifier and ``num_batches_tracked`` may be missing in the file.
        prefix: What stands before the backbone's names in the file; None: found by coverage, and
            of several by preference (query encoder, online, ema, teacher, ...).

    Raises:
        MissingDataError: If there is no such file.
        CheckpointError: If it can't be read safely, does not fit, or holds non-finite weights.
    """
    path = Path(path)
    tensors = read_tensors(path)
    own = module.state_dict()
    optional = _optional_names(module, own)
    coverage = _coverage(tensors, own)
    if prefix is not None:
        wanted = prefix if prefix in coverage or not prefix else prefix.rstrip(".") + "."
        coverage = {wanted: coverage.get(wanted, {})}
    fits = {
        candidate: {n: s for n, s in found.items() if tensors[s].shape == own[n].shape}
        for candidate, found in coverage.items()
    }
    best = min(
        fits, key=lambda p: _rank(p, len(own.keys() - fits[p].keys() - optional)), default=""
    )
    fitting = fits.get(best, {})
    if own.keys() - fitting.keys() - optional or (prefix is None and _names_rejected(best)):
        raise CheckpointError(misfit_text(path, module, tensors, coverage, best, optional))
    _check_values(path, {name: tensors[source] for name, source in fitting.items()})
    with torch.no_grad():
        for name, source in fitting.items():
            own[name].copy_(tensors[source])
    ignored = sorted(tensors.keys() - set(fitting.values()))
    return CheckpointInfo(file_sha256(path), best, len(fitting), len(own), tuple(ignored[:20]))


def _optional_names(module: nn.Module, own: dict[str, Tensor]) -> set[str]:
    """Returns the names that a checkpoint may lack."""
    config = getattr(module, "pretrained_cfg", None) or {}
    classifiers = config.get("classifier") or ()
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    starts = tuple(f"{head}." for head in heads)
    return {name for name in own if name.endswith("num_batches_tracked") or name.startswith(starts)}


def _coverage(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, dict[str, str]]:
    """Returns by prefix which of the backbone's names are there, and under which full name."""
    spellings = {name: name for name in own}
    if "layer4.0.conv1.weight" in own:
        for name in own:
            child, _, rest = name.partition(".")
            if child in _SEQUENTIAL_RESNET:
                spellings[f"{_SEQUENTIAL_RESNET[child]}.{rest}"] = name
    coverage: dict[str, dict[str, str]] = defaultdict(dict)
    for full_name in tensors:
        parts = full_name.split(".")
        for n_prefix in range(len(parts)):
            if own_name := spellings.get(".".join(parts[n_prefix:])):
                before = "".join(f"{part}." for part in parts[:n_prefix])
                coverage[before].setdefault(own_name, full_name)
    return dict(coverage)


def _rank(prefix: str, n_missing: int) -> tuple[int, bool, int, int, str]:
    """Returns a sort key: best coverage of what is needed, then preference, then brevity."""
    preference = [i for i, word in enumerate(_PREFERRED) if _names(prefix, word)]
    return (
        n_missing,
        _names_rejected(prefix),
        min(preference, default=len(_PREFERRED)),
        len(prefix),
        prefix,
    )


def _names(prefix: str, word: str) -> bool:
    """Returns whether a component of the prefix contains ``word`` between underscores."""
    return any(f"_{word}_" in f"_{part}_" for part in prefix.lower().split("."))


def _names_rejected(prefix: str) -> bool:
    return any(_names(prefix, word) for word in _REJECTED)


def _check_values(path: Path, loaded: dict[str, Tensor]) -> None:
    """Refuses non-finite weights; warns of BatchNorm statistics that were never computed."""
    for name, tensor in loaded.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            n_bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"The checkpoint {str(path)!r} has {n_bad} non-finite values (NaN or infinity) in "
                f"{name!r}: its training diverged or the file is damaged. Take another one."
            )
    variances = [t for name, t in loaded.items() if name.endswith("running_var")]
    if variances and all(bool((variance == 1).all()) for variance in variances):
        warnings.warn(
            f"All BatchNorm variances in {str(path)!r} are exactly 1: its statistics were never "
            "computed, so frozen features will be poor.",
            stacklevel=3,
        )
