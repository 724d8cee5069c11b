"""What is to be registered, and the note of it in the run folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from energytune.errors import TrackingError
from energytune.json_text import read_json

__all__ = ["Winner", "path_from", "read_note", "write_note"]

_NOTE = "registration.json"


@dataclass(frozen=True)
class Winner:
    """Everything needed to register a model; JSON values.

    Attributes:
        dataset: Names the registered model.
        weights: Path of the safetensors weights, relative to the run folder if inside it.
        spec: For ``energytune.models.rebuild_model``.
        score: Test score in [0, 1].
        protocol: Two models with the same text may be compared.
        correct: Per test example, packed by :func:`~energytune.tracking.versions.pack_correct`.
        recipe: The recipe's dimensions.
        run_uid: Uid of the run that made the weights; a uid is registered once.
        search_id: The search.
        input_shape: Shape of one preprocessed sample; None takes the spec's.
        class_names: Names of the K classes, in order.
        tags: Further tags of the version.
        metric: What the score is, ``Task.metric``; it tells what the model predicts.
        preprocessing: ``Splits.preprocessing``.
        evidence: Path of the evidence of a score that is no accuracy, relative as ``weights``.
    """

    dataset: str
    weights: str
    spec: dict[str, Any]
    score: float
    protocol: str
    correct: str
    recipe: dict[str, Any]
    run_uid: str
    search_id: str
    input_shape: list[int] | None = None
    class_names: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    preprocessing: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


def path_from(folder: Path, file: Path | str) -> str:
    """Returns a file's path, relative to the folder if it is inside: folders are moved."""
    path = Path(file).absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def write_note(folder: Path, winner: Winner) -> None:
    """Notes what is to be registered, whole or not at all.

    Raises:
        OSError: The folder can't be written.
    """
    part = folder / f"{_NOTE}.part"
    part.write_text(json.dumps(asdict(winner), indent=1))
    os.replace(part, folder / _NOTE)


def read_note(folder: Path) -> Winner | None:
    """Returns what a folder has noted; None if nothing.

    Raises:
        TrackingError: The note is damaged.
    """
    note = folder / _NOTE
    if not note.exists():
        return None
    try:
        return Winner(**read_json(note))
    except (ValueError, TypeError) as failure:
        raise TrackingError(f"{note} is damaged ({failure}): the model can't be registered.") from (
            failure
        )
