"""Checkpoints of finetunes that have not ended: what a lost worker or search goes on from.

A checkpoint has all that was told before it: the probing snapshots, the curve, the seconds. So
whoever goes on from it in another process, after a kill, tells the same events again and trains
none of those epochs twice. Probing needs none of its own: its snapshots lie in the cache.

They are caches: where one is missing or can't be read, the trial is trained again, to the same
numbers. Files are safetensors with JSON in their header, never pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from energytune.errors import OutputError
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.training.tuner_state import peek_state, read_state, write_state
from energytune.trial.builder import INTERRUPTED
from energytune.trial.model_files import ModelFiles
from energytune.trial.records import Event, Job, ProbeDone, TrialRecord

__all__ = ["CHECKPOINT_S", "Checkpoint", "CheckpointKeeper", "Checkpoints", "CheckpointTimer"]

CHECKPOINT_S = 30.0
"""Seconds of finetuning between two checkpoints where nothing else was asked for."""
_LEAST_SHARE = 20
"""Writing a checkpoint takes at most one part in so many of a trial's time."""
_FOLDER = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """Where a finetune has come to.

    Attributes:
        state: See :meth:`energytune.training.finetune.Finetuner.state`.
        probe: What probing has told.
        epochs: The finetuning epochs so far, ascending from 1; the last one is the state's.
        seconds_ft: Wall-clock seconds that they took.
    """

    state: dict[str, Any]
    probe: ProbeDone
    epochs: tuple[FinetuneEpoch, ...]
    seconds_ft: float


class Checkpoints:
    """The checkpoints of one search, one file for each recipe and seed.

    Args:
        files: Of the search; through a shared storage another node can go on.
        max_bytes: Room for all checkpoints of this machine, >= 0; None is no limit. Beyond it
            those of the least promising trials are deleted: of fewer epochs, and among equals of
            a lower best validation accuracy.
    """

    def __init__(self, files: ModelFiles, max_bytes: int | None = None) -> None:
        self._files, self._max_bytes = files, max_bytes

    def save(self, job: Job, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, whole or not at all, in place of the job's last one.

        A disk that is full is no failure: the trial is then trained again.
        """
        extra = {
            **_identity(job),
            "probe": asdict(checkpoint.probe),
            "epochs": [asdict(epoch) for epoch in checkpoint.epochs],
            "seconds_ft": checkpoint.seconds_ft,
        }
        name = _name(job)
        with contextlib.suppress(OutputError):
            write_state(self._files.path(name), checkpoint.state, extra, "")
            self._files.publish(name)
        if self._max_bytes is not None:
            _keep_within(self._files.path(_FOLDER), self._max_bytes)

    def load(self, job: Job) -> Checkpoint | None:
        """Returns the last checkpoint of ``job``.

        Returns:
            None if there is no such file, if it can't be read, or if it is of another recipe or
            seed.
        """
        name = _name(job)
        try:
            path = self._files.find(name)
        except OutputError:
            return None
        found = None if path is None else read_state(path)
        self._files.release(name)  # whoever goes on from it may be another node the next time
        if found is None:
            return None
        state, told = found
        try:
            probe, epochs = told.pop("probe"), told.pop("epochs")
            seconds_ft = float(told.pop("seconds_ft"))
            snapshots = tuple(ProbeSnapshot(**s) for s in probe.pop("snapshots"))
            checkpoint = Checkpoint(
                state,
                ProbeDone(snapshots, **probe),
                tuple(FinetuneEpoch(**e) for e in epochs),
                seconds_ft,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        is_whole = [e.epoch for e in checkpoint.epochs] == list(range(1, state["epoch"] + 1))
        return checkpoint if told == _identity(job) and is_whole else None

    def drop(self, job: Job) -> None:
        """Deletes the checkpoint of ``job``, if there is one."""
        with contextlib.suppress(OSError):
            self._files.delete(_name(job))

    def drop_all(self) -> None:
        """Deletes all of them: no trial of the search can go on any more."""
        shutil.rmtree(self._files.path(_FOLDER), ignore_errors=True)
        with contextlib.suppress(OutputError):
            self._files.delete_all(f"{_FOLDER}/")


class CheckpointTimer:
    """Says when the next checkpoint is due.

    Args:
        every_s: Seconds between two, >= 0; they are further apart where writing one takes long.
            0 is one after each epoch.
        clock: Returns seconds; any origin.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = perf_counter) -> None:
        self._every_s, self._clock = every_s, clock
        self._last_s, self._cost_s = clock(), 0.0

    def is_due(self) -> bool:
        """Returns whether a checkpoint is to be written now."""
        pause_s = max(self._every_s, _LEAST_SHARE * self._cost_s) if self._every_s else 0.0
        return self._clock() - self._last_s >= pause_s

    def write(self, action: Callable[[], object]) -> None:
        """Does ``action``, which writes one, and takes its time."""
        started_s = self._clock()
        action()
        self._last_s = self._clock()
        self._cost_s = self._last_s - started_s


class CheckpointKeeper:
    """Deletes the checkpoints of jobs that have ended; an :class:`energytune.trial.Observer`.

    The job itself does not: its end may be lost on the way to the study.

    Args:
        checkpoints: The search's.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def job_started(self, job: Job) -> None:
        """Does nothing."""

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Does nothing."""

    def job_ended(self, record: TrialRecord) -> None:
        """Deletes the job's checkpoint, unless it is run again because the search was stopped."""
        if record.reason != INTERRUPTED:
            self._checkpoints.drop(record.job)


def _keep_within(folder: Path, max_bytes: int) -> None:
    """Deletes checkpoints, the least promising first, until the others fit."""
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


def _name(job: Job) -> str:
    digest = hashlib.sha256(f"{job.recipe.key()} {job.seed}".encode()).hexdigest()[:16]
    return f"{_FOLDER}/{digest}.safetensors"


def _identity(job: Job) -> dict[str, Any]:
    return {"recipe": job.recipe.key(), "seed": job.seed}
