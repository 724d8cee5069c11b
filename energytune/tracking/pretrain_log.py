"""A pretraining in MLflow: one run with its curve, found again after a resume."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energytune.tracking.client import ensure_experiment, open_client, tracking_errors
from energytune.tracking.links import run_link
from energytune.tracking.names import UID_TAG
from energytune.tracking.store import artifact_root
from energytune.training import FinetuneEpoch

__all__ = ["PretrainLog"]

EXPERIMENT = "energytune-pretraining"
_EVERY_S = 2.0


class PretrainLog:
    """The run of one pretraining, in the experiment ``energytune-pretraining``.

    Args:
        uri: Tracking server or database.
        home: Folder for artifacts where no server decides.
        uid: Tells the run from all others; a run that has it is continued.
        params: Of the run.

    Raises:
        TrackingError: MLflow can't be reached or refuses.
    """

    def __init__(self, uri: str, home: Path, uid: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._uri, self._client = uri, open_client(uri)
        self._waiting: list[tuple[str, float, int, int]] = []
        self._sent_at = 0.0
        with tracking_errors(uri):
            self._experiment = ensure_experiment(self._client, EXPERIMENT, artifact_root(uri, home))
            known = self._client.search_runs(
                [self._experiment], f"tags.`{UID_TAG}` = '{uid}'", max_results=1
            )
            if known:
                self._run = str(known[0].info.run_id)
                self._client.update_run(self._run, status="RUNNING")
                return
            name = f"{params['backbone']} on {params['dataset']}"
            run = self._client.create_run(self._experiment, tags={UID_TAG: uid}, run_name=name)
            self._run = str(run.info.run_id)
            named = [Param(key, str(value)) for key, value in params.items()]
            self._client.log_batch(self._run, [], named, [])

    def epoch(self, epoch: FinetuneEpoch) -> None:
        """Logs an epoch; several that follow fast go together.

        Raises:
            TrackingError: MLflow does not answer.
        """
        now_ms = time.time_ns() // 1_000_000
        for name in ("train_acc", "train_loss", "valid_acc", "valid_loss"):
            self._waiting.append((f"pretrain/{name}", getattr(epoch, name), now_ms, epoch.epoch))
        if time.monotonic() - self._sent_at >= _EVERY_S:
            self._send()

    def finish(self, sha256: str, checkpoint: Path) -> str:
        """Ends the run and returns its address.

        Args:
            sha256: Of the checkpoint.
            checkpoint: Where it lies; it is named, not copied.

        Raises:
            TrackingError: MLflow does not answer.
        """
        self._send()
        with tracking_errors(self._uri):
            self._client.set_tag(self._run, "checkpoint_sha256", sha256)
            self._client.set_tag(self._run, "checkpoint", str(checkpoint))
            self._client.set_terminated(self._run, "FINISHED")
        return run_link(self._uri, self._experiment, self._run)

    def _send(self) -> None:
        from mlflow.entities import Metric

        with tracking_errors(self._uri):
            for start in range(0, len(self._waiting), 900):
                part = self._waiting[start : start + 900]
                self._client.log_batch(self._run, [Metric(*point) for point in part], [], [])
        self._waiting, self._sent_at = [], time.monotonic()
