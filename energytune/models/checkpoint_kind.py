"""Which method or library a checkpoint is from, by the names in it; for people to read only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from energytune.models.checkpoint_match import Match
from energytune.models.checkpoint_spellings import MMPRETRAIN, PLAIN, SEQUENTIAL, TF_SIMCLR

__all__ = ["checkpoint_kind"]

_BY_PREFIX = (
    (r"\bclassy_state_dict\b", "VISSL"),
    (r"\bencoder_q\b", "MoCo"),
    (r"\bbase_encoder\b", "MoCo v3"),
    (r"(^|[._])online[._]", "BYOL"),
    (r"(^|[._])ema[._]", "timm (EMA)"),
    (r"(^|[._])teacher[._]", "DINO (teacher)"),
    (r"(^|[._])student[._]", "DINO (student)"),
)
"""A pattern in the prefix of what was loaded, and what it tells; the first one holds."""
_BY_OTHERS = (
    ((".prototypes.",), "SwAV"),
    ((".neck.",), "mmselfsup"),
    ((".module.encoder.fc.", ".module.predictor."), "SimSiam"),
    ((".module.projector.", ".module.bn."), "Barlow Twins"),
    ((".module.projector.",), "VICReg"),
    ((".state_dict.classifier.weight",), "solo-learn"),
    ((".projection_head.",), "lightly"),
    ((".projector.",), "SimCLR"),
    ((".backbone.fc.0.",), "SimCLR"),
)
"""Parts of the names of what was not loaded, and what all of them together tell."""


def checkpoint_kind(match: Match, names: Iterable[str]) -> str:
    """Returns a short label: "MoCo v2", "DINO (teacher)", "plain", or "wrapped" if unknown.

    Args:
        match: What was loaded.
        names: All names in the file.
    """
    others = [f".{name}" for name in set(names) - set(match.sources.values())]
    if match.spelling == TF_SIMCLR:
        return "SimCLR v2 (from TensorFlow)"
    for pattern, kind in _BY_PREFIX:
        if re.search(pattern, match.prefix):
            if kind != "MoCo":
                return kind
            # version 2 has a perceptron where version 1 has one layer
            return "MoCo v2" if _has(others, f".{match.prefix}fc.0.") else "MoCo v1"
    if match.spelling == MMPRETRAIN:
        return "mmselfsup"
    for parts, kind in _BY_OTHERS:
        if all(_has(others, part) for part in parts):
            return kind
    if match.spelling == SEQUENTIAL:
        return "lightly"
    return "plain" if not match.prefix and match.spelling == PLAIN else "wrapped"


def _has(names: Iterable[str], part: str) -> bool:
    return any(part in name for name in names)
