"""Tells MLflow of a pretraining; where it can't be reached, says so once and goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from energytune.errors import TrackingError
from energytune.progress import Progress
from energytune.tracking import PretrainLog, default_uri
from energytune.training import FinetuneEpoch

__all__ = ["PretrainTracker"]


class PretrainTracker:
    """Hands epochs to MLflow, and survives its absence.

    Args:
        log: The open run; None logs nothing.
        progress: Told if MLflow stops answering.
    """

    def __init__(self, log: PretrainLog | None, progress: Progress) -> None:
        self._log, self._progress = log, progress

    @classmethod
    def of(
        cls,
        track: bool,
        uri: str | None,
        home: Path,
        identity: dict[str, Any],
        *,
        protocol: str,
        progress: Progress,
    ) -> PretrainTracker:
        """Opens the run of a pretraining, or finds the one that it had before a resume.

        Args:
            track: Whether anything is logged.
            uri: Tracking server; None is SQLite in ``home``.
            home: Folder of the default store.
            identity: What tells pretrainings apart; logged as params.
            protocol: On what it is validated.
            progress: Told if MLflow can't be reached.
        """
        if not track:
            return cls(None, progress)
        text = json.dumps(identity, sort_keys=True)
        uid = f"pretrain-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        tracker = cls(None, progress)
        with tracker._guarded():
            home = home.absolute()
            home.mkdir(parents=True, exist_ok=True)
            tracker._log = PretrainLog(
                uri or default_uri(home), home, uid, {**identity, "protocol": protocol}
            )
        return tracker

    def epoch(self, epoch: FinetuneEpoch) -> None:
        """Logs an epoch."""
        self._do(lambda log: log.epoch(epoch))

    def finish(self, sha256: str, checkpoint: Path) -> str:
        """Ends the run; returns its address, empty if there is none."""
        links: list[str] = []
        self._do(lambda log: links.append(log.finish(sha256, checkpoint)))
        return links[0] if links else ""

    def _do(self, action: Callable[[PretrainLog], object]) -> None:
        if self._log is not None:
            with self._guarded():
                action(self._log)

    def _guarded(self) -> _Guard:
        return _Guard(self)

    def give_up(self, reason: str) -> None:
        """Logs nothing from now on."""
        self._log = None
        self._progress.note(f"not logged to MLflow: {reason.rstrip('.')}")


class _Guard:
    """Turns a server that does not answer into a note."""

    def __init__(self, tracker: PretrainTracker) -> None:
        self._tracker = tracker

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, TrackingError):
            return False
        self._tracker.give_up(str(error).split(" Nothing is lost")[0])
        return True
