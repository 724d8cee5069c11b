"""Sends everything in a run folder to MLflow: what ``energytune sync`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from energytune.errors import TrackingError
from energytune.redact import redact
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.drain import Drain, last_uri
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.statistics import refresh_statistics
from energytune.tracking.store import artifact_root, default_uri, journal_path, locked

__all__ = ["SyncResult", "register_noted", "sync"]


@dataclass(frozen=True)
class SyncResult:
    """What a sync has done.

    Attributes:
        uri: Where to, without a login.
        n_entries: Journal entries, all of them in MLflow now.
        n_runs: Runs the journal knows, all of them in MLflow now.
        n_unreadable: Lines that were torn by a crash.
        rejected: Uids of runs that the server refuses for good, with its reason.
        model: The registered winner, if the search had got that far.
    """

    uri: str
    n_entries: int
    n_runs: int
    n_unreadable: int
    rejected: dict[str, str]
    model: RegisteredModel | None


_WAIT_S = 60.0


def sync(run_folder: Path | str, uri: str | None = None, *, wait_s: float = _WAIT_S) -> SyncResult:
    """Sends what MLflow lacks of a run folder's journal and registers its winner; safe to repeat.

    Every run is compared with the one in MLflow, so that also what was marked as sent and is not
    there any more, because a backup was restored, is sent again.

    Args:
        run_folder: Folder of a search.
        uri: Where to; None takes the search's own store, SQLite in the folder if it had none.
        wait_s: How long to wait for another process that is sending the same journal, seconds.

    Raises:
        TrackingError: There is no journal, MLflow can't be reached, or another process sends.
    """
    folder = Path(run_folder).absolute()
    path = journal_path(folder)
    if not path.exists():
        raise TrackingError(
            f"There is no tracking journal in {folder}. Name the folder of a search (its --out)."
        )
    uri = uri or last_uri(path) or default_uri(folder)
    root = artifact_root(uri, folder)
    drain = Drain(TrackingJournal(path), uri, root, from_start=True, wait_s=wait_s)
    drain()
    model = register_noted(uri, folder, wait_s=wait_s)
    refresh_statistics(uri)
    return SyncResult(
        redact(uri), drain.n_sent, drain.n_runs, drain.n_unreadable, dict(drain.rejected), model
    )


def register_noted(uri: str, run_folder: Path, *, wait_s: float) -> RegisteredModel | None:
    """Registers what a run folder has noted, unless it is there; None if nothing was noted.

    One after the other: two at once would each upload the model.

    Args:
        uri: Tracking server or database.
        run_folder: Folder of a search.
        wait_s: How long to wait for another process that is registering it, seconds.

    Raises:
        TrackingError: MLflow can't be reached, the note is damaged, or another process registers.
    """
    from energytune.tracking.registry import register_pending

    lock = run_folder / "registration.lock"
    with locked(lock, wait=False, timeout_s=wait_s) as held:
        if not held:
            raise TrackingError(f"Another process is registering the winner of {run_folder}.")
        return register_pending(uri, run_folder)
