"""The state of a paused finetune on disk: a cache, without which it is trained again."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from energytune.errors import OutputError
from energytune.training.tuner_state import peek_state, read_state, write_state
from energytune.trial.records import Job

__all__ = ["drop_state", "drop_states", "keep_state", "kept_state"]


def keep_state(
    model_dir: Path, job: Job, state: dict[str, Any], max_bytes: int | None = None
) -> None:
    """Writes the state of a job that is being stopped, whole or not at all.

    A disk that is full is no failure: the trial is then trained again. Where all states take more
    than ``max_bytes``, those of the least promising trials are deleted: of fewer epochs, and
    among equals of a lower best validation accuracy.

    Args:
        model_dir: The bench's.
        job: Whose state it is.
        state: See :meth:`~energytune.training.finetune.Finetuner.state`.
        max_bytes: Room for the states of all trials, >= 0; None is no limit.
    """
    with contextlib.suppress(OutputError):
        write_state(_path(model_dir, job), state, _identity(job), "")
    if max_bytes is not None:
        _keep_within(model_dir / "paused", max_bytes)


def kept_state(model_dir: Path, job: Job) -> dict[str, Any] | None:
    """Returns the state with which ``job`` goes on after its ``resume_epoch``.

    Args:
        model_dir: The bench's.
        job: A trial that was paused.

    Returns:
        None if there is no such file, if it can't be read, or if it is of another epoch, recipe
        or seed.
    """
    found = read_state(_path(model_dir, job))
    if found is None:
        return None
    state, identity = found
    is_ours = identity == _identity(job) and state["epoch"] == job.resume_epoch
    return state if is_ours else None


def drop_state(model_dir: Path, job: Job) -> None:
    """Deletes the state of ``job``, if there is one."""
    with contextlib.suppress(OSError):
        _path(model_dir, job).unlink(missing_ok=True)


def drop_states(model_dir: Path) -> None:
    """Deletes all states: no trial of the search can go on any more."""
    shutil.rmtree(model_dir / "paused", ignore_errors=True)


def _keep_within(folder: Path, max_bytes: int) -> None:
    """Deletes states, the least promising first, until the others fit."""
    sizes: dict[Path, int] = {}
    for path in folder.glob("*.safetensors"):
        with contextlib.suppress(OSError):  # another worker deletes as well
            sizes[path] = path.stat().st_size
    if (total := sum(sizes.values())) <= max_bytes:
        return
    for path in sorted(sizes, key=lambda path: (peek_state(path), path.name)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        total -= sizes[path]
        if total <= max_bytes:
            return


def _path(model_dir: Path, job: Job) -> Path:
    return model_dir / "paused" / f"{job.id}.safetensors"


def _identity(job: Job) -> dict[str, Any]:
    return {"recipe": job.recipe.key(), "seed": job.seed}
