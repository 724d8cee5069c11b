"""Turns a search's jobs and records into journal entries.

One parent run a search, one nested run a trial. A trial writes its probing curve when probing
ends, points of its finetuning curve now and then, and the rest at its end; no point is written
twice. Nothing here talks to MLflow, and a full disk becomes a problem to report, not an error.
"""

from __future__ import annotations

import getpass
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energytune.tracking.curves import (
    best_epoch,
    end_points,
    epoch_points,
    on_grid,
    snapshot_points,
)
from energytune.tracking.journal import Point, TrackingJournal, log_entry
from energytune.tracking.names import (
    BEST_METRIC,
    SEARCH_TAG,
    UID_TAG,
    experiment_name,
    trial_params,
)
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Event, Job, ProbeDone, TrialRecord

__all__ = ["SEARCH_TAG", "UID_TAG", "TrackingObserver", "experiment_name", "trial_params"]

_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@dataclass
class _Open:
    """A run that was begun: what of it is in the journal already."""

    uid: str
    probed: bool = False
    written: set[int] = field(default_factory=set)
    waiting: list[Point] = field(default_factory=list)
    last_write: float = -math.inf


class TrackingObserver:
    """Writes a search into a journal; implements :class:`energytune.trial.Observer`.

    Making one writes the parent run, or lets it go on where the journal has it already; trials
    that an earlier process left open are ended as interrupted then.

    Args:
        journal: Where entries go.
        search_id: Identifies the search; shared by the tags of all its runs.
        dataset: Name of the downstream dataset.
        backbone: Name of the backbone.
        params: Params of the parent run: settings of the search. ``"ft_epochs"``, if it is there,
            is the number of finetuning epochs and lets curves be sent while a trial runs.
        progress_s: Seconds between two writes of one trial's running curve.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        journal: TrackingJournal,
        search_id: str,
        dataset: str,
        backbone: str,
        params: Mapping[str, Any],
        *,
        progress_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.journal, self.search_id = journal, search_id
        self.dataset, self.backbone = dataset, backbone
        self.parent_uid = search_id
        self.problem: str | None = None
        """Why entries were lost: the disk was full or not writable; None if all is well."""
        self._ft_epochs = int(params["ft_epochs"]) if "ft_epochs" in params else None
        self._progress_s, self._clock = progress_s, clock
        self._open: dict[str, _Open] = {}
        self._attempts: dict[str, int] = {}
        self._counts = dict.fromkeys((*_STATUS, "duplicates"), 0)
        self._best = -math.inf
        self._begin({name: str(value) for name, value in params.items()})

    def run_uid(self, job_id: str) -> str:
        """Returns the uid of the latest run of a job, for example to register its model."""
        n_attempt = self._attempts.get(job_id, 1)
        return f"{self.search_id}.{job_id}" + (f".{n_attempt}" if n_attempt > 1 else "")

    def job_started(self, job: Job) -> None:
        """Begins the trial's nested run."""
        self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
        uid = self.run_uid(job.id)
        self._open[job.id] = _Open(uid)
        self._write(
            {
                "kind": "run",
                "uid": uid,
                "parent": self.parent_uid,
                "experiment": experiment_name(self.dataset),
                "name": f"{job.id} {job.recipe.label()}",
                "start_ms": self._now_ms(),
                "tags": {SEARCH_TAG: self.search_id, "role": job.role},
                "params": trial_params(job, self.dataset, self.backbone),
            }
        )

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Writes the probing curve when it ends and, now and then, points of the finetuning."""
        run = self._open.get(job.id)
        if run is None:
            return
        for event in events:
            if isinstance(event, ProbeDone) and not run.probed:
                run.waiting += snapshot_points(event.snapshots, self._now_ms(), event.seconds)
                run.probed = True
                run.last_write = self._clock()
            elif isinstance(event, EpochsDone) and self._ft_epochs is not None:
                kept = [e for e in event.epochs if on_grid(e.epoch, self._ft_epochs)]
                run.waiting += self._epochs(run, kept, event.seconds / max(1, len(event.epochs)))
        if run.waiting and self._clock() - run.last_write >= self._progress_s:
            self._write(log_entry(run.uid, run.waiting))
            run.waiting, run.last_write = [], self._clock()

    def job_ended(self, record: TrialRecord) -> None:
        """Ends the trial's run: PRUNED as KILLED, FAIL as FAILED, each with its reason.

        A duplicate was not run and gets no run of its own; the parent counts it.
        """
        if record.duplicate_of is not None:
            self._counts["duplicates"] += 1
            return
        if record.job.id not in self._open:
            self.job_started(record.job)
        run = self._open.pop(record.job.id)
        now = record.ended_ms or self._now_ms()
        entries = [
            log_entry(run.uid, run.waiting + self._rest(run, record, now)),
            _end_entry(run.uid, record.state, record.reason, now),
        ]
        self._counts[record.state] += 1
        objective = record.objective
        if objective is not None and record.job.role != "confirm" and objective > self._best:
            self._best = objective
            step = sum(self._counts[state] for state in _STATUS)
            entries.append(log_entry(self.parent_uid, [(BEST_METRIC, objective, now, step)]))
        self._write(*entries)

    def finish(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        files: Sequence[Path] = (),
        status: str = "FINISHED",
        reason: str = "",
    ) -> None:
        """Ends the parent run; trials that are still open end as interrupted.

        Args:
            metrics: Numbers of the whole search, for example ``test/accuracy`` of the winner.
            tags: Tags of the parent run.
            files: Files that become artifacts of the parent run: the records with the full
                curves, tables, figures. Those in the journal's folder may move with it.
            status: ``"FINISHED"``, ``"KILLED"`` (stopped by the user) or ``"FAILED"``.
            reason: Why, unless finished.
        """
        now = self._now_ms()
        entries = [_interrupted(run.uid, now) for run in self._open.values()]
        self._counts["FAIL"] += len(entries)
        self._open.clear()
        counts = {f"search/n_{name.lower()}": float(n) for name, n in self._counts.items()}
        points = [(key, float(v), now, 0) for key, v in {**counts, **(metrics or {})}.items()]
        entries.append(log_entry(self.parent_uid, points, tags))
        for file in files:
            path, home = file.absolute(), self.journal.path.parent
            name = path.relative_to(home) if path.is_relative_to(home) else path
            entries.append({"kind": "file", "uid": self.parent_uid, "path": str(name)})
        told = {"reason": reason} if reason else {}
        end = {"kind": "end", "uid": self.parent_uid, "status": status, "end_ms": now, "tags": told}
        self._write(*entries, end)

    def _begin(self, params: dict[str, str]) -> None:
        now = self._now_ms()
        try:
            left = self._recall()
        except OSError as failure:
            left, self.problem = [], f"{self.journal.path}: {failure}"
        self._counts["FAIL"] += len(left)
        self._write(*[_interrupted(uid, now) for uid in left])
        self._write(
            {
                "kind": "run",
                "uid": self.parent_uid,
                "parent": None,
                "experiment": experiment_name(self.dataset),
                "name": f"search {self.dataset} {self.backbone} {self.search_id}",
                "start_ms": now,
                "tags": {SEARCH_TAG: self.search_id, "role": "parent", **_source_tags()},
                "params": {"dataset": self.dataset, "backbone": self.backbone, **params},
            }
        )

    def _recall(self) -> list[str]:
        """Restores counts and best from the journal; returns the trials left open."""
        left: dict[str, None] = {}
        for entry in self.journal.read().entries:
            uid, kind = str(entry["uid"]), entry["kind"]
            if uid == self.parent_uid:
                for key, value, *_ in entry.get("metrics", ()):
                    if key == BEST_METRIC:
                        self._best = max(self._best, value)
            elif kind == "run":
                left[uid] = None
                job_id = uid.removeprefix(f"{self.search_id}.").split(".")[0]
                self._attempts[job_id] = self._attempts.get(job_id, 0) + 1
            elif kind == "end" and uid in left:
                del left[uid]
                self._counts[entry["tags"]["trial_state"]] += 1
        return list(left)

    def _rest(self, run: _Open, record: TrialRecord, now: int) -> list[Point]:
        points: list[Point] = []
        ft_start = now - round(1000 * record.seconds_ft)
        if not run.probed:
            points += snapshot_points(record.snapshots, ft_start, record.seconds_hp)
        best = best_epoch(record.epochs)
        if best is not None:
            n_epochs = self._ft_epochs or record.epochs[-1].epoch
            must = {record.epochs[0].epoch, record.epochs[-1].epoch, best.epoch}
            kept = [e for e in record.epochs if e.epoch in must or on_grid(e.epoch, n_epochs)]
            n_run = max(1, record.epochs[-1].epoch)
            for epoch in kept:
                if epoch.epoch not in run.written:
                    share = 1 - epoch.epoch / n_run
                    points += epoch_points(epoch, now - round(1000 * record.seconds_ft * share))
            points.append(("ft/best_valid_acc", best.valid_acc, now, 0))
        if record.finished is not None:
            points += end_points(record.finished, now)
        seconds = {"time/hp_s": record.seconds_hp, "time/ft_s": record.seconds_ft}
        return points + [(key, value, now, 0) for key, value in seconds.items()]

    def _epochs(self, run: _Open, epochs: list[FinetuneEpoch], seconds: float) -> list[Point]:
        now, points = self._now_ms(), []
        for epoch in epochs:
            if epoch.epoch not in run.written:
                run.written.add(epoch.epoch)
                late = round(1000 * seconds * (epochs[-1].epoch - epoch.epoch))
                points += epoch_points(epoch, now - late)
        return points

    def _write(self, *entries: Mapping[str, Any]) -> None:
        try:
            self.journal.append(*entries)
        except (OSError, ValueError) as failure:
            self.problem = f"{self.journal.path}: {failure}"

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _end_entry(uid: str, state: str, reason: str, now: int) -> dict[str, Any]:
    tags = {"trial_state": state} | ({"reason": reason} if reason else {})
    return {"kind": "end", "uid": uid, "status": _STATUS[state], "end_ms": now, "tags": tags}


def _interrupted(uid: str, now: int) -> dict[str, Any]:
    return _end_entry(uid, "FAIL", "interrupted", now) | {"status": "KILLED"}


def _source_tags() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user in this container
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "energytune", "mlflow.source.type": "LOCAL"}
