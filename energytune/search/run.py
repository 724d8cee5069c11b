"""Wires the rooms: one search from its settings to its result.

Optuna decides (a job source), Ray places (an executor), MLflow keeps (an observer); they meet
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from torch import nn

from energytune.cluster import ClusterConfig, RayCluster, check_resources, run_jobs
from energytune.config import SearchConfig
from energytune.data import absolute_name
from energytune.optimizer import (
    StudySource,
)
from energytune.progress import NO_PROGRESS, Progress
from energytune.report.cost_plan import SearchPlan
from energytune.search.budgets import folder_bytes
from energytune.search.catch_up import catch_up
from energytune.search.clock import StageClock
from energytune.search.confirmation import Confirmation, bring_model
from energytune.search.folder import RunFolder
from energytune.search.outcome import check_outcome, has_complete
from energytune.search.place import place
from energytune.search.planned import plan_search
from energytune.search.prepare import bench_spec, has_all_files, sampler_of
from energytune.search.records_log import RecordsLog
from energytune.search.report_write import SearchReport
from energytune.search.result import TuneResult
from energytune.search.search_study import SearchStudy
from energytune.search.spending import Spending
from energytune.search.tracked import TrackedSearch
from energytune.storage import SharedStorage
from energytune.trial import ChainSource, Observer
from energytune.trial.bench import Bench, UserData
from energytune.trial.checkpoints import CheckpointKeeper, Checkpoints
from energytune.trial.guarded import GuardedSource
from energytune.trial.model_files import ModelFiles
from energytune.trial.run import make_run_job

__all__ = ["run_search"]


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
    if user_data is None:  # workers and a later resume may be in another folder
        config = config.model_copy(update={"dataset": absolute_name(config.dataset)})
    return _Search(config, observers, progress, user_data, module).run()


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
        self.plan: SearchPlan | None = None
        self.models = ModelFiles(self.folder.models)
        self.confirmation = Confirmation(config, self.log, self.models)

    def run(self) -> TuneResult:
        """Runs all stages."""
        cluster_config = ClusterConfig(
            address=self.config.ray_address,
            concurrency=self.config.concurrency,
            cpus_per_trial=self.config.cpus_per_trial,
            gpus_per_trial=self.config.gpus_per_trial,
            storage_dir=self.folder.ray,
        )
        if self.config.storage_path is not None:  # told before anything takes long
            SharedStorage(self.config.storage_path).check()
        check_resources(cluster_config)
        cluster = RayCluster(cluster_config)
        with ExitStack() as stack:
            workers = stack.enter_context(ExitStack())
            # Ray's workers import torch while this process builds; but where files may be
            # missing, that is told before anything is started
            if has_all_files(self.config, self.user_data, self.module):
                self._start(cluster, workers)
                bench = self._build()
            else:
                bench = self._build()
                self._start(cluster, workers)
            bench = self._place(bench, cluster)
            tracked = stack.enter_context(
                TrackedSearch(self.folder, self.config, bench, self.clock)
            )
            watchers = self.observers
            keeper = CheckpointKeeper(Checkpoints(self.models))
            self.observers = [self.log, tracked.observer, keeper, self.spending.gpu, *watchers]
            sampler, curves = sampler_of(
                self.config, self.folder, bench, self.clock, self.progress, self.placed.curves
            )
            self.report = SearchReport(self.folder, self.progress)
            self.report.begin(self.config, bench, curves, user_module=self.module is not None)
            self.study = stack.enter_context(SearchStudy(self.config, self.folder, self.progress))
            self.report.remember(self.study.open(sampler))
            source = self.study.source(
                bench.splits,
                self.spending,
                self.observers,
                confirmed_on=self.confirmation.seeds,
                earlier=self.log.confirmations(),
            )
            catch_up(source.records, self.log, tracked.observer)
            for record in source.records:  # of an earlier start: the log and MLflow have them
                for watcher in (keeper, *watchers):
                    watcher.job_ended(record)
            interrupted = self._run_jobs(cluster, source, bench)
            tracked.send_now()
            if not interrupted:  # a second Ctrl-C is to find as little to break as it can
                workers.close()  # which takes a second or two, in which MLflow is told
            result = self._result(source, bench, interrupted)
            with self.clock.stage("report"):
                self.report.end(result)
            if not interrupted:
                over_s = self.config.time_budget_s if self.spending.is_late() else None
                check_outcome(source.records, over_budget_s=over_s, out=self.folder.path)
            return self._conclude(result, bench, tracked)

    def _start(self, cluster: RayCluster, stack: ExitStack) -> None:
        with self.clock.stage("start"), self.progress.stage("starting Ray", None):
            stack.enter_context(cluster)

    def _build(self) -> Bench:
        """Loads and checks data and backbone, then makes the folder the search's own."""
        spec = bench_spec(self.config, self.folder, self.user_data, self.module)
        with self.clock.stage("pretrain"):
            bench = spec.build(self.progress)
        space = bench.fit_space(self.config.space, narrow=self.config.narrow_depth)
        self.config = self.config.model_copy(update={"space": space})
        self.folder = RunFolder(self.config)
        self.is_continued = self.folder.claim(
            {"data": bench.splits.fingerprint, "weights": bench.backbone.weights_sha256}
        )
        self.models = ModelFiles.of_search(
            self.folder.models, self.config.storage_path, self.folder.search_id
        )
        self.confirmation = Confirmation(self.config, self.log, self.models)
        return bench

    def _place(self, bench: Bench, cluster: RayCluster) -> Bench:
        """Puts the bench on the trials' device, caches its features, and tells the plan."""
        self.spending = Spending(
            self.config,
            self.clock,
            self.folder.path,
            concurrency=cluster.concurrency,
            gpus_per_trial=cluster.gpus_per_trial,
            weights_bytes=bench.weights_bytes(self.config.space),
            earlier=self.log.confirmations(),
        )
        with self.clock.stage("features"):
            self.placed = placed = place(
                bench,
                self.config,
                self.spending.disk,
                cluster,
                search_id=self.folder.search_id,
                progress=self.progress,
            )
        if not (self.is_continued or placed.is_far):  # else it was told before, or can't be timed
            with self.clock.stage("plan"):
                self.plan = plan_search(
                    self.config,
                    placed.bench,
                    concurrency=cluster.concurrency,
                    feature_bytes=placed.feature_bytes,
                    progress=self.progress,
                )
        return placed.bench

    def _run_jobs(self, cluster: RayCluster, source: StudySource, bench: Bench) -> bool:
        """Searches, confirms, tests; returns whether Ctrl-C ended it."""
        chain = ChainSource(
            [
                lambda: self.study.repeats or source,
                lambda: self.confirmation.race(source, self.clock.elapsed_s, self.observers),
                lambda: self.confirmation.final(self.observers),
            ]
        )
        started_s = self.clock.elapsed_s
        try:
            run_jobs(
                cluster,
                GuardedSource(chain, self.study.raise_if_lost),
                partial(
                    make_run_job, replace(self.placed.trial_spec, pause_epochs=source.pause_epochs)
                ),
                flush_epochs=source.reported_epochs,
                should_stop=lambda: self.spending.is_over() and not has_complete(source.records),
                progress=self.progress,
            )
        except KeyboardInterrupt:
            return True
        finally:
            ended_s = self.clock.elapsed_s
            confirm_s = self.confirmation.started_s or ended_s
            self.clock.add("search", confirm_s - started_s)
            self.clock.add("confirm", ended_s - confirm_s)
        return False

    def _result(self, source: StudySource, bench: Bench, interrupted: bool) -> TuneResult:
        """Gathers what has come out."""
        winner = self.confirmation.winner(source)
        baselines = {
            name: record
            for name, record in zip(("tau=0", "tau=max"), source.baselines(), strict=True)
            if record is not None and record.state == "COMPLETE"
        }
        self.clock.add("hp", sum(r.seconds_hp for r in source.records))
        self.clock.add("ft", sum(r.seconds_ft for r in source.records))
        return TuneResult(
            config=self.config,
            out=self.folder.path,
            records=source.records,
            confirmations=self.confirmation.records(),
            winner=winner,
            baselines=baselines,
            confirmed=self.confirmation.standings(),
            seed_noise=self.confirmation.noise(),
            seconds=self.clock.seconds(),
            interrupted=interrupted,
            n_duplicates=source.n_duplicates,
            end_reason=source.end_reason or ("interrupted" if interrupted else ""),
            model_spec=bench.model(winner.job.recipe, 0).spec() if winner else {},
            storage=self.folder.storage,
            study_name=self.folder.study_name,
            metric=bench.splits.task.metric,
            about=self.report.about,
            plan=self.plan,
            written_bytes=self.placed.feature_bytes + folder_bytes(self.folder.path),
            _user_module=self.module,
        )

    def _conclude(self, result: TuneResult, bench: Bench, tracked: TrackedSearch) -> TuneResult:
        """Sends what is left to MLflow and registers the winner."""
        if not result.interrupted:
            bring_model(self.models, result.model_to_keep)
        registered = tracked.finish(result, bench.splits)
        if not result.interrupted:  # else they may still be tested, or go on
            self.confirmation.keep_only(result.model_to_keep)
            Checkpoints(self.models).drop_all()
        result = replace(
            result, registered=registered, tracking=tracked.status(), seconds=self.clock.seconds()
        )
        self.report.end(result)  # now with the model and the page in MLflow
        return replace(result, report_problem=self.report.problem)
