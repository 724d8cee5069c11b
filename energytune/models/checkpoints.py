"""Loading a checkpoint into a backbone: all of it, or a refusal that says what does not fit.

Self-supervised checkpoints hold several networks under prefixes of their own. Loading what
happens to match leaves a silently random model, so here every tensor must fit by name and shape.
A share of the weights is no safeguard: all of a ResNet's BatchNorm is 0.45 % of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from energytune.errors import CheckpointError
from energytune.models.checkpoint_file import file_sha256, read_metadata, read_tensors
from energytune.models.checkpoint_heads import check_heads
from energytune.models.checkpoint_kind import checkpoint_kind
from energytune.models.checkpoint_match import (
    Match,
    find_matches,
    names_rejected,
    optional_names,
    rivals_of,
)
from energytune.models.checkpoint_report import ambiguous_text, misfit_text
from energytune.models.checkpoint_spellings import PLAIN

__all__ = ["CheckpointInfo", "load_checkpoint"]

_VOCABULARY = "vocabulary"
"""Attribute of a network and key of a file's metadata: what the numbers of its inputs stand for."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What was loaded from a checkpoint.

    Attributes:
        sha256: Hex digest of the file.
        prefix: What stood before the backbone's names.
        n_loaded: Number of the backbone's tensors that were loaded.
        n_total: Number of the backbone's tensors.
        ignored: Names in the checkpoint that were not used, at most 20.
        kind: What the file looks like, for people to read: "MoCo v2", "DINO (teacher)", "plain".
    """

    sha256: str
    prefix: str
    n_loaded: int
    n_total: int
    ignored: tuple[str, ...]
    kind: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "ignored": list(self.ignored)}


def load_checkpoint(path: Path, module: nn.Module, prefix: str | None = None) -> CheckpointInfo:
    """Loads a checkpoint into ``module``, in place; on refusal the module is as it was.

    Args:
        path: safetensors, or PyTorch's format without pickled code.
        module: The network; its classifier and ``num_batches_tracked`` may be missing in the file.
            If it has an attribute ``vocabulary`` (a text), the file's metadata must have the same.
        prefix: What stands before the backbone's names in the file; None: found by coverage, and
            of several by preference (query encoder, online, ema, teacher, ...). If given, that
            network is taken whatever its name and number of attention heads.

    Raises:
        MissingDataError: If there is no such file.
        CheckpointError: If it can't be read safely, does not fit, fits in two ways that differ,
            was made for another vocabulary, or holds non-finite weights.
    """
    path = Path(path)
    tensors = read_tensors(path)
    _check_vocabulary(path, module)
    matches = find_matches(tensors, module)
    best = _chosen(matches, prefix)
    if not best.fits or (prefix is None and names_rejected(best.prefix)):
        optional = optional_names(module)
        raise CheckpointError(misfit_text(path, module, tensors, matches, best, optional))
    if prefix is None:
        if rivals := rivals_of(best, matches, tensors):
            raise CheckpointError(ambiguous_text(path, best, rivals))
        check_heads(path, best, tensors, module)
        _warn_of_overlooked(path, best, matches)
    own = module.state_dict()
    loaded = {name: tensors[source].to(own[name].dtype) for name, source in best.fitting.items()}
    _check_values(path, loaded)
    with torch.no_grad():
        for name, tensor in loaded.items():
            own[name].copy_(tensor)
    ignored = sorted(tensors.keys() - set(best.fitting.values()))
    return CheckpointInfo(
        sha256=file_sha256(path),
        prefix=best.prefix,
        n_loaded=len(loaded),
        n_total=len(own),
        ignored=tuple(ignored[:20]),
        kind=checkpoint_kind(best, tensors),
    )


def _chosen(matches: list[Match], prefix: str | None) -> Match:
    """Returns the best match, of those under ``prefix`` if that is given."""
    wanted = prefix
    if prefix and not prefix.endswith("."):
        wanted = f"{prefix}."
    found = [match for match in matches if wanted is None or match.prefix == wanted]
    return found[0] if found else Match(wanted or "", PLAIN, {}, {}, frozenset({"all"}), ())


def _check_vocabulary(path: Path, module: nn.Module) -> None:
    """Refuses weights that were trained on inputs with other meanings.

    The tensors of a network on molecules fit whatever atom its first, second, ... input stands for.
    """
    expected = getattr(module, _VOCABULARY, None)
    if not isinstance(expected, str):
        return
    found = read_metadata(path).get(_VOCABULARY)
    if found is None:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} does not tell the vocabulary of its inputs, and this "
            f"network needs {expected!r}: with another one every weight fits and means something "
            "else. `energytune pretrain` writes it; in Python, save_file(state_dict, FILE, "
            f"metadata={{{_VOCABULARY!r}: {expected!r}}}) from safetensors.torch does, if you know "
            "that it was trained with this one."
        )
    if found != expected:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} was trained with the vocabulary {found!r}, and this "
            f"network has {expected!r}: every weight would fit and mean something else. Take a "
            "checkpoint that was pretrained with the same vocabulary, or pretrain one: "
            "`energytune pretrain`."
        )


def _warn_of_overlooked(path: Path, best: Match, matches: list[Match]) -> None:
    """Warns if a network that is preferred to the one that fits is there, but damaged."""
    for other in matches:
        nearly = 2 * len(other.fitting) > len(best.fitting)
        if nearly and not other.fits and other.preference < best.preference:
            warnings.warn(
                f"Of {str(path)!r} the network under {best.prefix!r} is taken: the one under "
                f"{other.prefix!r}, which would come first, lacks {len(other.missing)} tensors.",
                stacklevel=3,
            )


def _check_values(path: Path, loaded: Mapping[str, Tensor]) -> None:
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
