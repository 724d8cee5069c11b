"""Turns a search's jobs and records into journal entries.

One parent run a search, one nested run a trial. A trial writes its probing curve when probing
ends, points of its finetuning curve now and then, and the rest at its end; no point is written
twice. Nothing here talks to MLflow, and a full disk becomes a problem to report, not an error.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from energytune.redact import redact
from energytune.tracking.curves import points_on_test
from energytune.tracking.journal import TrackingJournal, log_entry
from energytune.tracking.names import (
    BEST_METRIC,
    SEARCH_TAG,
    UID_TAG,
    experiment_name,
    trial_params,
)
from energytune.tracking.open_run import OpenRun
from energytune.tracking.recall import Recalled, recall
from energytune.trial import Event, Job, TrialRecord
from energytune.trial.builder import now_ms

__all__ = ["SEARCH_TAG", "UID_TAG", "TrackingObserver", "experiment_name", "trial_params"]

_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def _now_s() -> float:
    return now_ms() / 1000


class TrackingObserver:
    """Writes a search into a journal; implements :class:`energytune.trial.Observer`.

    Making one writes the parent run, or lets it go on where the journal has it already. So do
    trials that an earlier process left open when it was killed: told again, they go on in the run
    that they have, and what is not told again ends as interrupted.

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
        clock: Callable[[], float] = _now_s,
    ) -> None:
        self.journal, self.search_id = journal, search_id
        self.dataset, self.backbone = dataset, backbone
        self.parent_uid = search_id
        self.problem: str | None = None
        """Why entries were lost: the disk was full or not writable; None if all is well."""
        self._ft_epochs = int(params["ft_epochs"]) if "ft_epochs" in params else None
        self._progress_s, self._clock = progress_s, clock
        self._open: dict[str, OpenRun] = {}
        self._told = Recalled()
        self._counts = dict.fromkeys((*_STATUS, "duplicates"), 0)
        self._begin({name: str(value) for name, value in params.items()})

    def run_uid(self, job_id: str) -> str:
        """Returns the uid of the latest run of a job, for example to register its model."""
        n_attempt = self._told.attempts.get(job_id, 1)
        return f"{self.search_id}.{job_id}" + (f".{n_attempt}" if n_attempt > 1 else "")

    def job_started(self, job: Job) -> None:
        """Begins the trial's nested run; a test job has none, it adds to its confirmation's."""
        if job.role == "test":
            return
        if (left := self._told.left.pop(job.id, None)) is not None:
            self._open[job.id] = OpenRun(
                left.uid, self._ft_epochs, written=left.epochs, probed=left.probed
            )
            return
        self._told.attempts[job.id] = self._told.attempts.get(job.id, 0) + 1
        uid = self.run_uid(job.id)
        self._open[job.id] = OpenRun(uid, self._ft_epochs)
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

    def has_told(self, job: Job) -> bool:
        """Returns whether the journal has the end of ``job``, of a test its result.

        The process may have been killed after the end was known elsewhere, and before that.
        """
        told = self._told
        return job.tested in told.tested if job.role == "test" else job.id in told.ended

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Writes the probing curve when it ends and, now and then, points of the finetuning."""
        run = self._open.get(job.id)
        if run is None:
            return
        for event in events:
            run.add(event, self._clock())
        if points := run.take(self._clock(), self._progress_s):
            self._write(log_entry(run.uid, points))

    def job_ended(self, record: TrialRecord) -> None:
        """Ends the trial's run: PRUNED as KILLED, FAIL as FAILED, each with its reason.

        A trial that stopped by itself is FINISHED, with the tag ``stop_reason``.

        A duplicate was not run and gets no run of its own; the parent counts it. A test job's
        result, or why there is none, goes to the run of the confirmation that it tested.
        """
        if record.job.role == "test":
            self._write(self._test_entry(record))
            return
        if record.duplicate_of is not None:
            self._counts["duplicates"] += 1
            return
        if record.job.id not in self._open:
            self.job_started(record.job)
        run = self._open.pop(record.job.id)
        now = record.ended_ms or self._now_ms()
        entries = [
            log_entry(run.uid, run.rest(record, now)),
            _end_entry(run.uid, record.state, now, record.reason, record.stop_reason),
        ]
        self._counts[record.state] += 1
        objective = record.objective
        if objective is not None and record.job.is_trial and objective > self._told.best:
            self._told.best = objective
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
        entries: list[Mapping[str, Any]] = []
        for run in self._open.values():
            entries += [log_entry(run.uid, run.so_far(now)), _interrupted(run.uid, now)]
        entries += [_interrupted(left.uid, now) for left in self._told.left.values()]
        self._counts["FAIL"] += len(self._open) + len(self._told.left)
        self._open.clear()
        self._told.left.clear()
        counts = {f"search/n_{name.lower()}": float(n) for name, n in self._counts.items()}
        points = [(key, float(v), now, 0) for key, v in {**counts, **(metrics or {})}.items()]
        entries.append(log_entry(self.parent_uid, points, tags))
        for file in files:
            path, home = file.absolute(), self.journal.path.parent
            name = path.relative_to(home) if path.is_relative_to(home) else path
            entries.append({"kind": "file", "uid": self.parent_uid, "path": str(name)})
        told = {"reason": redact(reason)} if reason else {}
        end = {"kind": "end", "uid": self.parent_uid, "status": status, "end_ms": now, "tags": told}
        self._write(*entries, end)

    def _begin(self, params: dict[str, str]) -> None:
        try:
            self._told = recall(self.journal.read().entries, self.parent_uid)
        except OSError as failure:
            self.problem = f"{self.journal.path}: {failure}"
        for state in _STATUS:
            self._counts[state] += self._told.states.get(state, 0)
        self._write(
            {
                "kind": "run",
                "uid": self.parent_uid,
                "parent": None,
                "experiment": experiment_name(self.dataset),
                "name": f"search {self.journal.path.parent.name} {self.backbone}",
                "start_ms": self._now_ms(),
                "tags": {SEARCH_TAG: self.search_id, "role": "parent", **_source_tags()},
                "params": {"dataset": self.dataset, "backbone": self.backbone, **params},
            }
        )

    def _test_entry(self, record: TrialRecord) -> dict[str, Any]:
        now = record.ended_ms or self._now_ms()
        test = record.finished.test if record.finished else None
        points = [] if test is None else points_on_test(test, now)
        tags = {"test_reason": record.reason} if record.reason else {}
        return log_entry(self.run_uid(record.job.tested), points, tags)

    def _write(self, *entries: Mapping[str, Any]) -> None:
        try:
            self.journal.append(*entries)
        except (OSError, ValueError) as failure:
            self.problem = f"{self.journal.path}: {failure}"

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _end_entry(
    uid: str, state: str, now: int, reason: str, stop_reason: str = ""
) -> dict[str, Any]:
    told = {"reason": reason, "stop_reason": stop_reason}
    tags = {"trial_state": state} | {name: text for name, text in told.items() if text}
    return {"kind": "end", "uid": uid, "status": _STATUS[state], "end_ms": now, "tags": tags}


def _interrupted(uid: str, now: int) -> dict[str, Any]:
    return _end_entry(uid, "FAIL", now, "interrupted") | {"status": "KILLED"}


def _source_tags() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user in this container
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "energytune", "mlflow.source.type": "LOCAL"}
