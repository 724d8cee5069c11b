"""A search's life in MLflow: journal, sender, registration. It never stops the search."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from energytune.config import SearchConfig
from energytune.data import Splits
from energytune.errors import TrackingError
from energytune.search.clock import StageClock
from energytune.search.code_version import code_tags
from energytune.search.folder import RunFolder
from energytune.search.result import Tracking, TuneResult
from energytune.tracking import (
    Patience,
    RegisteredModel,
    Sender,
    TrackingJournal,
    TrackingObserver,
    default_uri,
    note_winner,
)
from energytune.trial import TrialRecord
from energytune.trial.bench import Bench

__all__ = ["TrackedSearch"]

_STOP_TIMEOUT_S = 60.0
"""For a machine that others keep busy; a server that does not answer is given up long before."""


class TrackedSearch:
    """Context manager: a process that sends to MLflow runs inside it.

    Args:
        folder: The search's folder, claimed.
        config: The search.
        bench: For the names and fingerprints that are tracked.
        clock: Told the seconds of ``tracking`` and ``registry``.

    Attributes:
        observer: Writes the journal; give it to the job sources.
    """

    def __init__(
        self, folder: RunFolder, config: SearchConfig, bench: Bench, clock: StageClock
    ) -> None:
        self._folder, self._config, self._clock = folder, config, clock
        self._uri = config.tracking_uri or default_uri(folder.mlflow_home)
        # now: when the search ends, the files may have changed under it
        self._code = code_tags()
        self._backbone = bench.backbone
        journal = TrackingJournal(folder.tracking_journal)
        self.observer = TrackingObserver(
            journal,
            folder.search_id,
            config.dataset,
            bench.backbone.name,
            _parent_params(config, bench),
        )
        self._sender = Sender(journal, self._uri)
        self._patience = Patience(self._uri)
        self._status = Tracking(uri=self._uri)

    def __enter__(self) -> Self:
        """Starts the sender."""
        self._sender.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the parent run if the search has not; what is left is sent by ``sync``."""
        if error is not None:
            self.observer.finish(status="FAILED", reason=str(error))
            self._sender.stop(_STOP_TIMEOUT_S, self._patience)
        self._sender.close()

    def send_now(self) -> None:
        """Lets what the jobs have written be sent while the driver goes on."""
        self._sender.send_now()

    def finish(self, result: TuneResult, splits: Splits) -> RegisteredModel | None:
        """Ends the parent run, sends what is left, and registers the winner if there is one.

        Returns:
            The registered model; None if there is none to register or MLflow can't be reached.
        """
        with self._clock.stage("tracking"):
            self.observer.finish(
                metrics=_parent_metrics(result),
                tags=_parent_tags(result),
                files=[f for f in (self._folder.records, self._folder.report) if f.exists()],
                status="KILLED" if result.interrupted else "FINISHED",
                reason="interrupted" if result.interrupted else "",
            )
            n_unsent = self._sender.drain(_STOP_TIMEOUT_S, self._patience)
        if n_unsent:  # the version would not find its run
            self._patience.end()
        problem = self._sender.problem or self.observer.problem
        registered = None
        with self._clock.stage("registry"):
            best = None if result.interrupted else result.model_to_keep
            if best is not None:
                try:
                    registered = self._register(result, best, splits)
                except TrackingError as error:
                    problem = problem or str(error)
        link, run_id = None, None
        if not n_unsent and problem is None:
            link, run_id = self._find_parent()
        self._sender.close(0.0)  # it ends while the driver goes on
        warning = self._warning(n_unsent, problem) if n_unsent or problem else None
        self._status = Tracking(self._uri, link, warning, n_unsent, run_id)
        return registered

    def status(self) -> Tracking:
        """Returns where the search is tracked, and after :meth:`finish` what was not sent."""
        return self._status

    def _find_parent(self) -> tuple[str | None, str | None]:
        dataset, search_id = self._config.dataset, self._folder.search_id
        return self._sender.find_parent(dataset, search_id, self._patience)

    def _warning(self, n_unsent: int, problem: str | None) -> str:
        if self.observer.problem is not None:
            return (
                f"The tracking journal could not be written ({self.observer.problem}): MLflow "
                f"lacks a part of this search. Its trials are in {self._folder.records}."
            )
        why = (problem or "it did not answer in time").split(" Nothing is lost")[0].rstrip(".")
        left = f"{n_unsent} entries wait in the journal" if n_unsent else "the winner waits"
        return (
            f"MLflow was not told everything, {left}: {why}. Nothing is lost: "
            f"`energytune sync {self._folder.path}` sends it later."
        )

    def _register(
        self, result: TuneResult, best: TrialRecord, splits: Splits
    ) -> RegisteredModel | None:
        finished = best.finished
        if finished is None or finished.test is None or finished.model_path is None:
            return None
        if result.is_user_module:  # its network can't be rebuilt from a description
            return None
        images, _ = next(iter(splits.valid.batches(1)))
        note_winner(
            self._config.dataset,
            run_folder=self._folder.path,
            weights=finished.model_path,
            spec=result.model_spec,
            score=finished.test.accuracy,
            protocol=f"{splits.protocol}; {splits.task.metric}",
            correct=finished.test.correct if splits.task.metric == "accuracy" else (),
            recipe=best.job.recipe,
            run_uid=self.observer.run_uid(best.job.id),
            search_id=self._folder.search_id,
            input_shape=tuple(images.shape[1:]),
            class_names=splits.class_names,
            metric=splits.task.metric,
            preprocessing=splits.preprocessing,
            evidence=finished.test.evidence_path,
            tags={
                "backbone": self._backbone.name,
                "backbone_sha256": self._backbone.weights_sha256,
                "seed": str(best.job.seed),
                **self._code,
            },
        )
        return self._sender.register(self._patience)


def _parent_params(config: SearchConfig, bench: Bench) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "space": config.space.name,
        "sampler": config.sampler,
        "pruner": config.pruner,
        "warm_start": config.warm_start,
        "until": config.until,
        "n_trials": config.n_trials,
        "ft_epochs_budget": config.ft_epochs_budget,
        "gpu_hours": config.gpu_hours,
        "n_confirm_recipes": config.n_confirm_recipes,
        "n_confirm_seeds": config.n_confirm_seeds,
        "ft_epochs": config.space.finetune.epochs,
        "patience": config.space.finetune.patience,
        "precision": config.engine.precision,
        "channels_last": config.engine.channels_last,
        "compile": config.engine.compile,
        "gpus_per_trial": config.gpus_per_trial,
        "backbone_sha256": bench.backbone.weights_sha256,
        "data_fingerprint": bench.splits.fingerprint,
        "protocol": bench.splits.protocol,
    }


def _parent_metrics(result: TuneResult) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if result.winner is not None and result.winner.objective is not None:
        metrics["objective"] = result.winner.objective
    for name, record in {"winner": result.winner, **result.baselines}.items():
        if record is None:
            continue
        runs = [
            r.finished.test.accuracy
            for r in result.confirmations
            if r.job.number == record.job.number and r.finished and r.finished.test
        ]
        if runs:
            label = name.replace("=", "_")
            metrics[f"test/{label}_mean_{result.metric}"] = sum(runs) / len(runs)
    if result.confirmed and result.confirmed[0].mean is not None and not result.interrupted:
        metrics["confirm/winner_mean"] = result.confirmed[0].mean
    if result.seed_deviation is not None:
        metrics["confirm/seed_deviation"] = result.seed_deviation
    return metrics


def _parent_tags(result: TuneResult) -> Mapping[str, str]:
    if result.winner is None:
        return {}
    return {"winner": f"t{result.winner.job.number:03d} {result.winner.job.recipe.label()}"}
