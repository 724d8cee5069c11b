"""The state of a paused finetune on disk: a cache, without which it is trained again.

One safetensors file a trial, no pickle: the tensors of
:meth:`~energytune.training.finetune.Finetuner.state`, and the rest as JSON in its header.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from energytune.errors import OutputError
from energytune.paths import atomic_file
from energytune.trial.records import Job

__all__ = ["drop_state", "drop_states", "keep_state", "kept_state"]

_PARTS = ("model", "momentum", "best_model")
_HEADER = "state"


def keep_state(model_dir: Path, job: Job, state: dict[str, Any]) -> None:
    """Writes the state of a job that is being stopped, whole or not at all.

    A disk that is full is no failure: the trial is then trained again.

    Args:
        model_dir: The bench's.
        job: Whose state it is.
        state: See :meth:`~energytune.training.finetune.Finetuner.state`.
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
    header = {"epoch": state["epoch"], "best": best, **_identity(job)}
    with contextlib.suppress(OutputError), atomic_file(_path(model_dir, job), "") as file:
        file.write(save(tensors, metadata={_HEADER: json.dumps(header)}))


def kept_state(model_dir: Path, job: Job) -> dict[str, Any] | None:
    """Returns the state with which ``job`` goes on after its ``resume_epoch``.

    Args:
        model_dir: The bench's.
        job: A trial that was paused.

    Returns:
        None if there is no such file, if it can't be read, or if it is of another epoch, recipe
        or seed.
    """
    try:
        with safe_open(_path(model_dir, job), framework="pt") as file:
            header = json.loads(file.metadata()[_HEADER])
            if header != {**header, "epoch": job.resume_epoch, **_identity(job)}:
                return None
            found: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
            for key in file.keys():  # noqa: SIM118 - it is no dict
                part, _, name = key.partition("/")
                found[part][name] = file.get_tensor(key)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    found["best_model"] = found["best_model"] or found["model"]
    return {"epoch": header["epoch"], "best": header["best"], **found}


def drop_state(model_dir: Path, job: Job) -> None:
    """Deletes the state of ``job``, if there is one."""
    with contextlib.suppress(OSError):
        _path(model_dir, job).unlink(missing_ok=True)


def drop_states(model_dir: Path) -> None:
    """Deletes all states: no trial of the search can go on any more."""
    shutil.rmtree(model_dir / "paused", ignore_errors=True)


def _path(model_dir: Path, job: Job) -> Path:
    return model_dir / "paused" / f"{job.id}.safetensors"


def _identity(job: Job) -> dict[str, Any]:
    return {"recipe": job.recipe.key(), "seed": job.seed}
