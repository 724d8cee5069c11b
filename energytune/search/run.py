"""Wires the rooms: one search from its settings to its result.

Optuna decides (a job source), Ray places (an executor), MLflow keeps (an observer); they meet
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from energytune.cluster import ClusterConfig, RayCluster, check_resources, run_jobs
from energytune.config import SearchConfig
from energytune.data import get_dataset
from energytune.errors import BudgetError, EnergyTuneError
from energytune.models import EMBEDDED_BACKBONES
from energytune.optimizer import (
    ConfirmSource,
    StudySource,
    make_pruner,
    make_sampler,
    open_study,
)
from energytune.paths import cache_dir
from energytune.progress import NO_PROGRESS, Progress
from energytune.search.clock import StageClock, TimeBudget
from energytune.search.folder import RunFolder
from energytune.search.records_log import RecordsLog
from energytune.search.result import TuneResult
from energytune.search.tracked import TrackedSearch
from energytune.trial import ChainSource, Observer, TrialRecord
from energytune.trial.bench import Bench, BenchSpec, UserData
from energytune.trial.run import make_run_job

__all__ = ["run_search"]

_FIRST_CONFIRM_SEED = 1000


def run_search(
    config: SearchConfig,
    *,
    observers: Sequence[Observer] = (),
    progress: Progress = NO_PROGRESS,
    user_data: UserData | None = None,
    module: nn.Module | None = None,
) -> TuneResult:
    """Runs a search, or continues the one in ``config.out``, and registers its winner.

    Args:
        config: What is searched and where.
        observers: Further watchers, for example the terminal's display.
        progress: Told about pretraining, downloads and feature extraction.
        user_data: A user's own datasets instead of ``config.dataset``.
        module: A user's own backbone instead of ``config.backbone``.

    Returns:
        The result; ``interrupted`` is set if Ctrl-C ended the search.

    Raises:
        EnergyTuneError: Whatever is wrong with settings, data, checkpoint, folder, devices or
            budget; also if every trial failed.
    """
    return _Search(config, observers, progress, user_data, module).run()


@dataclass
class _Confirmation:
    """What is confirmed: recipes of the search on further seeds."""

    source: ConfirmSource | None = None
    started_s: float = 0.0
    earlier: Sequence[TrialRecord] = ()

    def records(self) -> list[TrialRecord]:
        return [*self.earlier, *(self.source.records if self.source else [])]


class _Search:
    """One search; its methods are the stages, in their order."""

    def __init__(
        self,
        config: SearchConfig,
        observers: Sequence[Observer],
        progress: Progress,
        user_data: UserData | None,
        module: nn.Module | None,
    ) -> None:
        self.clock = StageClock()
        self.config, self.progress = config, progress
        self.user_data, self.module = user_data, module
        self.folder = RunFolder(config)
        self.log = RecordsLog(self.folder.records)
        self.observers = list(observers)
        self.confirmation = _Confirmation()
        self.confirm_seeds = [
            (config.seed + _FIRST_CONFIRM_SEED + i) % 2**31 for i in range(config.n_confirm_seeds)
        ]

    def run(self) -> TuneResult:
        """Runs all stages."""
        cluster_config = ClusterConfig(
            address=self.config.ray_address,
            concurrency=self.config.concurrency,
            cpus_per_trial=self.config.cpus_per_trial,
            gpus_per_trial=self.config.gpus_per_trial,
            storage_dir=self.folder.ray,
        )
        check_resources(cluster_config)
        cluster = RayCluster(cluster_config)
        with ExitStack() as stack:
            # Ray's workers import torch while this process builds; but where files may be
            # missing, that is told before anything is started
            if self._has_all_files():
                self._start(cluster, stack)
                bench = self._build()
            else:
                bench = self._build()
                self._start(cluster, stack)
            bench = self._place(bench, cluster)
            tracked = stack.enter_context(
                TrackedSearch(self.folder, self.config, bench, self.clock)
            )
            watchers = self.observers
            self.observers = [self.log, tracked.observer, *watchers]
            source = self._source(cluster)
            for record in source.records:  # of an earlier start: the log and MLflow have them
                for watcher in watchers:
                    watcher.job_ended(record)
            interrupted = self._run_jobs(cluster, source, bench)
            if not interrupted:
                self._check_outcome(source)
            return self._conclude(source, bench, tracked, interrupted)

    def _has_all_files(self) -> bool:
        """Returns whether data and backbone come with the package or with the call."""
        own_data = self.user_data is not None or get_dataset(self.config.dataset).embedded
        own_backbone = self.module is not None or self.config.backbone in (
            None,
            *EMBEDDED_BACKBONES,
        )
        return own_data and own_backbone and self.config.checkpoint is None

    def _start(self, cluster: RayCluster, stack: ExitStack) -> None:
        with self.clock.stage("start"), self.progress.stage("starting Ray", None):
            stack.enter_context(cluster)

    def _build(self) -> Bench:
        """Loads and checks data and backbone, then makes the folder the search's own."""
        backbone: str | nn.Module | None = self.module or self.config.backbone
        if backbone is None:
            backbone = get_dataset(self.config.dataset).backbone
        spec = BenchSpec(
            dataset=self.config.dataset,
            backbone=backbone,
            probe=self.config.space.probe,
            finetune=self.config.space.finetune,
            cache=cache_dir(),
            model_dir=self.folder.models,
            weights=self.config.weights,
            checkpoint=self.config.checkpoint,
            data_root=self.config.data_root,
            loader_workers=self.config.loader_workers,
            n_threads=self.config.cpus_per_trial,
            user_data=self.user_data,
            cache_budget=self.config.cache_budget,
        )
        with self.clock.stage("pretrain"):
            bench = spec.build(self.progress)
        space = bench.fit_space(self.config.space, narrow=self.config.narrow_depth)
        self.config = self.config.model_copy(update={"space": space})
        self.folder = RunFolder(self.config)
        self.folder.claim(
            {"data": bench.splits.fingerprint, "weights": bench.backbone.weights_sha256}
        )
        return bench

    def _place(self, bench: Bench, cluster: RayCluster) -> Bench:
        """Puts the bench on the trials' device and caches the features of every cut."""
        spec = replace(bench.spec, use_gpu=cluster.gpus_per_trial > 0)
        placed = Bench(spec, bench.splits, bench.backbone)
        depths = self.config.space.reinit_depth
        with self.clock.stage("features"):
            placed.prepare(range(depths.low, depths.high + 1), self.progress)
        return placed

    def _source(self, cluster: RayCluster) -> StudySource:
        space = self.config.space
        taus = self.config.baseline_taus
        if taus is None:
            taus = (space.tau.low, space.tau.high)
        study = open_study(
            self.folder.storage,
            self.folder.study_name,
            sampler=make_sampler(self.config.sampler, self.config.seed),
            pruner=make_pruner(self.config.pruner, space.finetune.epochs),
        )
        self.budget = TimeBudget(
            self.config.time_budget_s,
            self.clock,
            cluster.concurrency,
            n_confirm_runs=(1 + len(set(taus))) * self.config.n_confirm_seeds,
        )
        source = StudySource(
            study,
            space,
            n_trials=self.config.n_trials,
            seed=self.config.seed,
            baseline_taus=taus,
            budget=lambda: self.budget.allows_trial(source.records),
            observers=self.observers,
        )
        return source

    def _run_jobs(self, cluster: RayCluster, source: StudySource, bench: Bench) -> bool:
        """Searches, then confirms; returns whether Ctrl-C ended it."""
        chain = ChainSource([lambda: source, lambda: self._confirm(source)])
        started_s = self.clock.elapsed_s
        try:
            run_jobs(
                cluster,
                chain,
                partial(make_run_job, bench.spec),
                flush_epochs=source.reported_epochs,
                should_stop=lambda: self.budget.is_over() and not _has_complete(source.records),
            )
        except KeyboardInterrupt:
            return True
        finally:
            ended_s = self.clock.elapsed_s
            confirm_s = self.confirmation.started_s or ended_s
            self.clock.add("search", confirm_s - started_s)
            self.clock.add("confirm", ended_s - confirm_s)
        return False

    def _confirm(self, source: StudySource) -> ConfirmSource | None:
        """Makes the confirmation's source; runs of an earlier start are not repeated."""
        winner = source.best()
        if winner is None:
            return None
        self.confirmation.started_s = self.clock.elapsed_s
        named = {"winner": winner, "baseline_tau_0": None, "baseline_tau_max": None}
        named["baseline_tau_0"], named["baseline_tau_max"] = source.baselines()
        recipes = [(n, r.job.number, r.job.recipe) for n, r in named.items() if r is not None]
        wanted = {(number, recipe.key()) for _, number, recipe in recipes}
        earlier = [
            r for r in self.log.confirmations() if (r.job.number, r.job.recipe.key()) in wanted
        ]
        done = {(r.job.recipe.key(), r.job.seed) for r in earlier}
        missing = [
            seed for seed in self.confirm_seeds if not all((key, seed) in done for _, key in wanted)
        ]
        self.confirmation.earlier = [
            r for r in earlier if r.job.seed in set(self.confirm_seeds) - set(missing)
        ]
        self.confirmation.source = ConfirmSource(recipes, missing, observers=self.observers)
        return self.confirmation.source

    def _check_outcome(self, source: StudySource) -> None:
        """Raises if there is nothing to conclude from; the study keeps what there is."""
        if _has_complete(source.records):
            return
        again = f"Continue with the same command and --out {self.folder.path}."
        if self.budget.is_over():
            raise BudgetError(
                f"The time budget of {self.config.time_budget_s:g} s ended before one trial was "
                f"complete. Give more time with --time-budget. {again}"
            )
        reasons = sorted({r.reason.rstrip(".") for r in source.records if r.reason})
        raise EnergyTuneError(
            f"None of {len(source.records)} trials is complete: {'; '.join(reasons[:3])}. {again}"
        )

    def _conclude(
        self, source: StudySource, bench: Bench, tracked: TrackedSearch, interrupted: bool
    ) -> TuneResult:
        """Gathers the result, sends what is left to MLflow and registers the winner."""
        winner = source.best()
        baselines = {
            name: record
            for name, record in zip(("tau=0", "tau=max"), source.baselines(), strict=True)
            if record is not None and record.state == "COMPLETE"
        }
        self._add_trial_seconds(source.records)
        result = TuneResult(
            config=self.config,
            out=self.folder.path,
            records=source.records,
            confirmations=self.confirmation.records(),
            winner=winner,
            baselines=baselines,
            interrupted=interrupted,
            n_duplicates=source.n_duplicates,
            model_spec=bench.model(winner.job.recipe, 0).spec() if winner else {},
            storage=self.folder.storage,
            study_name=self.folder.study_name,
            _user_module=self.module,
        )
        registered = tracked.finish(result, bench.splits)
        _keep_winners_weights(result)
        return replace(
            result,
            registered=registered,
            tracking=tracked.status(),
            seconds=self.clock.seconds(),
        )

    def _add_trial_seconds(self, records: Sequence[TrialRecord]) -> None:
        self.clock.add("hp", sum(r.seconds_hp for r in records))
        self.clock.add("ft", sum(r.seconds_ft for r in records))


def _has_complete(records: Sequence[TrialRecord]) -> bool:
    return any(record.state == "COMPLETE" for record in records)


def _keep_winners_weights(result: TuneResult) -> None:
    """Deletes the weights of all confirmed models but the one to keep: disks are finite."""
    runs = [r for r in result.confirmations if r.finished]
    if result.winner is None or not any(r.job.number == result.winner.job.number for r in runs):
        return
    kept = result.best_confirmation.job.id
    for record in runs:
        path = record.finished.model_path if record.finished else None
        if path is not None and record.job.id != kept:
            Path(path).unlink(missing_ok=True)
