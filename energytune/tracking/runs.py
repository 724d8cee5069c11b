"""Replays journal entries into MLflow: find the run by its tag or create it, log, end.

Replaying is idempotent. A run is found by our own uid; resending a metric with the same key,
timestamp, step and value changes nothing; of a param that differs after a resume, the first
value stays and the later one becomes a tag, because MLflow refuses to change params.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.tracking.client import ensure_experiment
from energytune.tracking.names import SEARCH_TAG, UID_TAG
from energytune.tracking.view import save_view

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MAX_BATCH", "Replayer"]

MAX_BATCH = 900
"""Entities a call; MLflow's own limit is 1000 metrics, and 100 params or tags."""
_REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"})
"""Error codes that sending again can't mend."""
_N_BAD_REQUESTS = 3
"""Times that a run must be refused as a bad request: MLflow also calls it that when its database
has cut a connection."""


@dataclass
class _Run:
    """What is known of a run, and what of it is still to be sent."""

    start: dict[str, Any]
    params: dict[str, str] = field(default_factory=dict)
    unsent_params: dict[str, str] = field(default_factory=dict)
    metrics: list[list[Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    end: dict[str, Any] | None = None
    reopened: bool = False
    touched: bool = False
    n_bad_requests: int = 0

    def settle(self) -> None:
        """Forgets what is to be sent: MLflow has it."""
        self.unsent_params, self.metrics, self.tags, self.files = {}, [], {}, []
        self.end, self.reopened, self.touched = None, False, False

    def is_whole(self, held: Any) -> bool:
        """Whether MLflow's run holds what is to be sent; of files nothing is known."""
        if self.files or self.end is None or self.reopened:
            return False
        last: dict[str, tuple[int, int, float]] = {}
        for key, value, at, step in self.metrics:
            last[key] = max(last.get(key, (step, at, value)), (step, at, value))
        info, data = held.info, held.data
        return bool(
            info.lifecycle_stage == "active"
            and (info.status, info.end_time) == (self.end["status"], self.end["end_ms"])
            and all(data.metrics.get(key) == value for key, (*_, value) in last.items())
            and self.unsent_params.items() <= data.params.items()
            and {k: v[:5000] for k, v in self.tags.items()}.items() <= data.tags.items()
        )


class Replayer:
    """Takes entries in order and brings MLflow's runs to where the journal says they are.

    Args:
        client: An open client.
        folder: The journal's folder; the paths of ``"file"`` entries are relative to it.
        artifact_root: Where artifacts of a new experiment go; None leaves it to the server.
    """

    def __init__(self, client: MlflowClient, folder: Path, artifact_root: Path | None) -> None:
        self._client, self._folder, self._artifact_root = client, folder, artifact_root
        self._runs: dict[str, _Run] = {}
        self._run_ids: dict[str, str] = {}
        self._experiments: dict[str, str] = {}
        self._listed: set[tuple[str, str]] = set()
        self._viewed: set[str] = set()
        self._held: dict[str, Any] = {}
        self.rejected: dict[str, str] = {}
        """Runs that the server will never take, with its reason; for example deleted ones."""

    @property
    def n_runs(self) -> int:
        """Number of runs that the entries so far speak of."""
        return len(self._runs)

    def recall(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Takes entries that were sent before: they are known, and not sent again."""
        self._fold(entries)
        for run in self._runs.values():
            run.settle()

    def compare(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Takes all entries of a journal; of runs that MLflow holds whole, nothing is sent.

        A run is whole if it has ended as the journal says, which is the last thing that is sent,
        and has every param, tag and metric with the value that the journal has last.

        Raises:
            Exception: Whatever MLflow raises.
        """
        self._fold(entries)
        for uid, run in self._runs.items():
            self._experiment_with_runs(run.start)
            held = self._held.get(uid)
            if held is not None and held.info.run_id == self._run_ids[uid] and run.is_whole(held):
                run.settle()

    def push(self, entries: Iterable[Mapping[str, Any]]) -> int:
        """Sends entries, merged into as few calls as possible; returns the number of runs touched.

        Raises:
            Exception: Whatever MLflow raises. Nothing is forgotten: the next ``push``, also with
                no entries, sends what is left.
        """
        from mlflow.exceptions import MlflowException

        self._fold(entries)
        touched = [uid for uid, run in self._runs.items() if run.touched]
        for uid in touched:
            try:
                self._send(uid)
            except MlflowException as failure:
                if not self._is_final(uid, failure.error_code):
                    self._forget_listing()
                    raise
                self.rejected[uid] = str(failure).splitlines()[0]
                self._runs[uid] = _Run(self._runs[uid].start, self._runs[uid].params)
            except Exception:
                self._forget_listing()
                raise
        return len(touched)

    def _is_final(self, uid: str, error_code: str) -> bool:
        """Whether a run is refused for good."""
        if error_code not in _REFUSALS or uid not in self._run_ids:
            return False
        run = self._runs[uid]
        run.n_bad_requests += error_code == "BAD_REQUEST"
        return error_code != "BAD_REQUEST" or run.n_bad_requests >= _N_BAD_REQUESTS

    def _forget_listing(self) -> None:
        # a run may have been made although the answer got lost: list before making it again
        self._listed.clear()

    def _fold(self, entries: Iterable[Mapping[str, Any]]) -> None:
        for entry in entries:
            uid, kind = str(entry["uid"]), entry["kind"]
            if kind == "run":
                self._fold_start(uid, dict(entry))
            run = self._runs.get(uid)
            if run is None:
                continue  # its first line was torn: there is nothing to hang this on
            run.touched = True
            run.tags |= entry.get("tags", {}) if kind != "run" else {}
            if kind == "log":
                run.metrics += entry["metrics"]
            elif kind == "file":
                run.files.append(entry["path"])
            elif kind == "end":
                run.end, run.reopened = dict(entry), False

    def _fold_start(self, uid: str, entry: dict[str, Any]) -> None:
        known = self._runs.get(uid)
        params = dict(entry["params"])
        if known is None:
            self._runs[uid] = _Run(entry, dict(params), dict(params), tags=dict(entry["tags"]))
            return
        known.end, known.reopened = None, True
        for name, value in params.items():
            if known.params.setdefault(name, value) != value:
                known.tags[f"resumed.{name}"] = value

    def _send(self, uid: str) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run = self._runs[uid]
        run_id = self._find_or_create(uid)
        if run.start["parent"] is None and uid not in self._viewed:
            save_view(self._client, self._experiments[run.start["experiment"]], run.start)
            self._viewed.add(uid)
        if run.reopened:
            self._client.update_run(run_id, status="RUNNING")
            run.reopened = False
        metrics = [Metric(key, value, at, step) for key, value, at, step in run.metrics]
        params = [Param(key, value) for key, value in run.unsent_params.items()]
        tags = [RunTag(key, value[:5000]) for key, value in run.tags.items()]
        for first in range(0, max(len(metrics), 1), MAX_BATCH):
            chunk = metrics[first : first + MAX_BATCH]
            if chunk or params or tags:
                self._client.log_batch(run_id, chunk, params, tags)
            params, tags = [], []
        run.metrics, run.unsent_params, run.tags = [], {}, {}
        while run.files:
            path = self._folder / run.files[0]
            # one that was deleted since must not block the rest for ever; one outside of the
            # folder was not written by a search
            if path.is_file() and path.resolve().is_relative_to(self._folder.resolve()):
                self._client.log_artifact(run_id, str(path))
            run.files.pop(0)
        if run.end is not None:
            self._client.set_terminated(run_id, run.end["status"], run.end["end_ms"])
            run.end = None
        run.touched = False

    def _experiment_with_runs(self, start: Mapping[str, Any]) -> str:
        """Returns the id of a run's experiment, after a look at its search's runs there."""
        name = start["experiment"]
        if name not in self._experiments:
            self._experiments[name] = ensure_experiment(self._client, name, self._artifact_root)
        experiment = self._experiments[name]
        search = start["tags"].get(SEARCH_TAG, "")
        if (experiment, search) not in self._listed:
            self._list(experiment, search)
        return experiment

    def _find_or_create(self, uid: str) -> str:
        if uid in self._run_ids:
            return self._run_ids[uid]
        start = self._runs[uid].start
        experiment = self._experiment_with_runs(start)
        if uid not in self._run_ids:
            run = self._runs[uid]
            tags = {**run.tags, UID_TAG: uid}
            parent = self._runs.get(start["parent"])
            if parent is not None and parent.start["parent"] is None:  # else its line was torn
                tags["mlflow.parentRunId"] = self._find_or_create(start["parent"])
            made = self._client.create_run(
                experiment, start["start_ms"], {k: v[:5000] for k, v in tags.items()}, start["name"]
            )
            self._run_ids[uid] = made.info.run_id
            run.tags = {}
        return self._run_ids[uid]

    def _list(self, experiment: str, search: str) -> None:
        """Learns the ids of a search's runs in one query, instead of one for each run."""
        query = f"tags.`{SEARCH_TAG}` = '{search}'"
        from mlflow.entities import ViewType

        found: dict[str, list[Any]] = {}
        token = None
        while True:
            # deleted runs too: what the user has thrown away is not made again
            page = self._client.search_runs([experiment], query, ViewType.ALL, 1000, None, token)
            for run in page:
                uid = run.data.tags.get(UID_TAG)
                if uid is not None:
                    found.setdefault(uid, []).append(run)
            token = page.token
            if not token:
                break
        for uid, runs in found.items():
            self._held[uid] = self._only(uid, runs)
            self._run_ids.setdefault(uid, str(self._held[uid].info.run_id))
        self._listed.add((experiment, search))

    def _only(self, uid: str, runs: list[Any]) -> Any:
        """Returns the run to go on with, and deletes others of the same uid.

        There are some if a server that hung made a run after its client had given up and made
        it again: the other one is empty.
        """
        known = self._run_ids.get(uid)
        first, *others = sorted(
            runs,
            key=lambda run: (
                run.info.run_id != known,
                run.info.lifecycle_stage != "active",
                -len(run.data.metrics) - len(run.data.params),
                run.info.run_id,
            ),
        )
        for run in others:
            if first.info.lifecycle_stage == run.info.lifecycle_stage == "active":
                self._client.delete_run(run.info.run_id)
        return first
