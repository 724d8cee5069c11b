"""The state of a :class:`~energytune.training.finetune.Finetuner` as one safetensors file.

No pickle: tensors by name, all else as JSON in the header. It appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from energytune.json_text import parse_json
from energytune.paths import atomic_file

__all__ = ["peek_state", "read_state", "write_state"]

_PARTS = ("model", "momentum", "best_model")
_HEADER = "state"


def write_state(
    path: Path, state: Mapping[str, Any], extra: Mapping[str, Any], advice: str
) -> None:
    """Writes a state.

    Args:
        path: The file.
        state: See :meth:`~energytune.training.finetune.Finetuner.state`.
        extra: JSON values that say whose state it is.
        advice: What the user can do if it can't be written, a sentence.

    Raises:
        OutputError: If the disk is full or the folder can't be written.
    """
    best = state["best"]
    # A curve that still rises has its best weights in the model: half the file is enough.
    is_best = best is not None and best["epoch"] == state["epoch"]
    tensors = {
        f"{part}/{name}": value.contiguous()
        for part in _PARTS
        if not (is_best and part == "best_model")
        for name, value in state[part].items()
    }
    header = {**extra, "epoch": state["epoch"], "best": best}
    with atomic_file(path, advice) as file:
        file.write(save(tensors, metadata={_HEADER: json.dumps(header)}))


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns a state and what was written beside it; None if there is no readable one."""
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json(file.metadata()[_HEADER])
            found: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
            for key in file.keys():  # noqa: SIM118 - it is no dict
                part, _, name = key.partition("/")
                found[part][name] = file.get_tensor(key)
        state = {"epoch": header.pop("epoch"), "best": header.pop("best"), **found}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return None
    state["best_model"] = found["best_model"] or found["model"]
    return state, header


def peek_state(path: Path) -> tuple[int, float]:
    """Returns the epoch of a state and its best validation accuracy, without reading tensors.

    (-1, -1.0) if there is no readable one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json(file.metadata()[_HEADER])
        best = header["best"]
        return int(header["epoch"]), -1.0 if best is None else float(best["valid_acc"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return -1, -1.0
