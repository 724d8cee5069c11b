"""Helper processes that finetune one network together with this one: data parallel training.

Every process holds the whole network and takes its share of every batch; the gradients are summed,
weighted by their labels, and each takes the same step. Validation and all that is kept is this
process's alone. That is what torch's ``DistributedDataParallel`` does, but for when gradients are
summed: after the backward pass, so that a process which has no memory left holds up nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]
import torch

from energytune.errors import TrialFailure
from energytune.training.micro_batch import is_out_of_memory
from energytune.training.team_link import READY, HelperFailure, TeamJob, hear, join, leave
from energytune.training.train_epoch import EpochTotals

__all__ = ["Team", "TeamOutOfMemory", "meeting_file", "unsendable"]

_GRACE_S = 5.0
_ADVICE = "Look into the logs of the machine, or search with --gpus-per-trial 1."


class TeamOutOfMemory(Exception):  # noqa: N818 - no failure: the epoch is trained again
    """A process of the team has no memory left for its share."""


class Team:
    """Starts the helpers and joins them; :meth:`close` ends them.

    Args:
        jobs: One a helper, ranks 1, 2, ...
        device: Of this process, which is rank 0.

    Raises:
        TrialFailure: If the helpers can't be started.
    """

    def __init__(self, jobs: Sequence[TeamJob], device: torch.device) -> None:
        self._device, self._closed = device, False
        self._meeting = jobs[0].meeting
        self._helpers: list[tuple[subprocess.Popen[bytes], Connection]] = []
        try:
            packed = [cloudpickle.dumps(job) for job in jobs]
        except Exception as error:  # a user's own module or dataset may hold anything
            self.close()
            raise unsendable(error) from error
        try:
            for job in packed:
                self._start(job)
            for _, pipe in self._helpers:
                if (said := hear(pipe)) != READY:
                    raise RuntimeError(said.text)
            join(self._meeting, 0, len(jobs) + 1, device)
        except Exception as error:
            failure = self._failed(error)
            self.close()
            raise failure from error
        if device.type == "cuda":
            threading.Thread(target=self._watch, daemon=True).start()

    def begin(self, epoch: int, micro_size: int) -> None:
        """Tells the helpers to train an epoch, at most ``micro_size`` samples at once."""
        try:
            for _, pipe in self._helpers:
                pipe.send((epoch, micro_size))
        except OSError as error:
            raise self._failed(error) from error

    def end(self, totals: EpochTotals) -> None:
        """Adds what the helpers have seen in the epoch.

        Raises:
            TrialFailure: If a helper has ended.
            TeamOutOfMemory: If it was for want of memory.
        """
        for _, pipe in self._helpers:
            try:
                said = hear(pipe)
            except (EOFError, OSError) as error:
                raise self._failed(error) from error
            if isinstance(said, HelperFailure):
                raise self._as_error(said)
            totals.merge(said)

    def explain(self, error: Exception) -> Exception:
        """Returns what to raise for an error of this process's part of an epoch.

        Where a helper has ended it is the helper's; else it is the error itself.
        """
        if is_out_of_memory(error):
            return TeamOutOfMemory(str(error))
        return self._failed(error)

    def close(self) -> None:
        """Ends the helpers and leaves the group. Nothing of it is left, whatever happened."""
        if self._closed:
            return
        self._closed = True
        for process, pipe in self._helpers:
            pipe.close()
            process.kill()
        for process, _ in self._helpers:
            process.wait()
        leave(at_once=True)
        shutil.rmtree(self._meeting.parent, ignore_errors=True)

    def _start(self, job: bytes) -> None:
        ours, theirs = Pipe()
        with theirs:
            numbers = [str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(
                [sys.executable, "-m", "energytune.training.team_helper", *numbers],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._helpers.append((process, ours))
        ours.send_bytes(job)

    def _failed(self, error: Exception) -> Exception:
        """Waits a little for what the helpers have to say, and returns it; else the error."""
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            for rank, (process, pipe) in enumerate(self._helpers, start=1):
                try:
                    while pipe.poll():
                        said = hear(pipe)
                        if isinstance(said, HelperFailure):
                            return self._as_error(said)
                except (EOFError, OSError):
                    pass
                if (code := process.poll()) is not None:
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                    return TrialFailure(
                        f"The helper process {rank} of this finetune {how}: the machine may be "
                        f"out of memory. {_ADVICE}"
                    )
            time.sleep(0.05)
        return error

    def _as_error(self, said: HelperFailure) -> Exception:
        if said.out_of_memory:
            return TeamOutOfMemory(said.text)
        return TrialFailure(f"A helper process of this finetune failed: {said.text}. {_ADVICE}")

    def _watch(self) -> None:
        """Breaks off what waits for a helper that is gone: a GPU would wait for ever."""
        while not self._closed:
            if any(process.poll() is not None for process, _ in self._helpers):
                leave(at_once=True)
                return
            time.sleep(0.5)


def unsendable(error: Exception) -> TrialFailure:
    """Returns the error for a network or a dataset that no other process can be given."""
    return TrialFailure(
        f"The network or its data can't be sent to another process: {error}. Search with "
        "--gpus-per-trial 1."
    )


def meeting_file() -> Path:
    """Returns a new file's path in a private folder, for the processes to meet through."""
    return Path(tempfile.mkdtemp(prefix="et-team-")) / "meeting"
