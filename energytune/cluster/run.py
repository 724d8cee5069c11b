"""Runs the jobs of a source on a cluster, through Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory, Stopper

from energytune.cluster.environment import environment
from energytune.cluster.ledger import JobLedger
from energytune.cluster.local import RayCluster
from energytune.cluster.scheduler import JobScheduler
from energytune.cluster.searcher import JOB, JobSearcher
from energytune.cluster.waiting import Waiting
from energytune.cluster.worker import JobWorker, WorkerSettings
from energytune.errors import ResourceError
from energytune.progress import NO_PROGRESS, Progress
from energytune.trial import JobSource, RunJob

__all__ = ["report_interval_s", "run_jobs"]

_REPORT_S = 0.5
_REPORTS_PER_S = 50


def run_jobs(
    cluster: RayCluster,
    source: JobSource,
    make_run_job: Callable[[], RunJob],
    *,
    flush_epochs: frozenset[int] = frozenset(),
    min_report_s: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Runs all jobs of ``source``, several at once, in worker processes that are reused.

    A job that raises has failed with that reason and the search goes on. A job whose process or
    node is lost is started again in another one; the events it repeats are not told twice. At
    concurrency 1 with ``min_report_s = 0`` the source sees the calls of
    :func:`energytune.trial.run_inline`.

    Args:
        cluster: Where to run; entered by the caller.
        source: Decides what is run. It stays in this process and is called from this thread.
        make_run_job: Called once in each worker process, its result runs all jobs there.
            Pickled (cloudpickle) and shipped once to each worker.
        flush_epochs: Finetuning epochs whose events are reported at once. The end of probing
            and of a job always are.
        min_report_s: Else a report is sent at the first event after so many seconds, >= 0; None
            is :func:`report_interval_s`.
        should_stop: Asked about ten times a second; True ends the search. Running jobs are
            told ``"interrupted"``.
        progress: Told what jobs wait for if none can start.

    Raises:
        KeyboardInterrupt: Ctrl-C; workers have stopped, running jobs were told "interrupted".
        ResourceError: The cluster was lost.
        Exception: What the source raised.
    """
    ledger = JobLedger(source, cluster.concurrency)
    if min_report_s is None:
        min_report_s = report_interval_s(cluster.concurrency)
    settings = WorkerSettings(flush_epochs, min_report_s, cluster.config.cpus_per_trial)
    trainable = tune.with_parameters(JobWorker, make_run_job=make_run_job, settings=settings)
    interrupted = threading.Event()
    scheduler, waiting = JobScheduler(ledger, cluster.concurrency), Waiting(cluster, progress)

    def is_over() -> bool:
        waiting.look(scheduler.tune_controller)
        return interrupted.is_set() or ledger.failure is not None or should_stop()

    cluster.config.storage_dir.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="ray-tune-", dir=cluster.config.storage_dir)
    try:
        with _quiet(), _interrupts(interrupted), environment(_tune_environment(cluster)):
            _tune(cluster, trainable, ledger, scheduler, _StopWhen(is_over), folder)
    except Exception as failure:
        raise ResourceError(
            f"The Ray cluster stopped working: {failure}. Start the search again to continue it."
        ) from failure
    finally:
        waiting.close()
        ledger.end_all()
        shutil.rmtree(folder, ignore_errors=True)
    if ledger.failure is not None:
        raise ledger.failure
    if interrupted.is_set():
        raise KeyboardInterrupt


def report_interval_s(n_workers: int) -> float:
    """Returns after how many seconds a worker reports where nothing is decided.

    Twice a second; before very many workers more seldom, so that all of them together send 50
    such reports a second at most: each takes a millisecond of the driver.

    Args:
        n_workers: Jobs at once, >= 1.
    """
    return max(_REPORT_S, n_workers / _REPORTS_PER_S)


def _tune(
    cluster: RayCluster,
    trainable: Any,
    ledger: JobLedger,
    scheduler: JobScheduler,
    stopper: Stopper,
    folder: str,
) -> None:
    """Lets Ray Tune run until searcher or stopper end it."""
    resources: dict[str, float] = {"CPU": cluster.config.cpus_per_trial}
    if cluster.gpus_per_trial:
        resources["GPU"] = cluster.gpus_per_trial
    tune.run(
        trainable,
        name="jobs",
        search_alg=JobSearcher(ledger),
        scheduler=scheduler,
        stop=stopper,
        num_samples=-1,
        resources_per_trial=PlacementGroupFactory([resources]),
        storage_path=folder,
        max_failures=0,  # the ledger hands lost jobs out again, so that it decides how often
        reuse_actors=True,
        raise_on_failed_trial=False,
        verbose=0,
        trial_name_creator=_job_id,
        trial_dirname_creator=_job_id,
    )


def _job_id(trial: Any) -> str:
    """Names a Ray trial, and its folder, after its job."""
    return str(trial.config[JOB].id)


def _tune_environment(cluster: RayCluster) -> dict[str, str]:
    """Returns the settings of Ray Tune that have no argument."""
    return {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
        "TUNE_MAX_PENDING_TRIALS_PG": str(cluster.concurrency),
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_RESULT_BUFFER_LENGTH": "1",
        "TUNE_WARN_THRESHOLD_S": "1e9",
    }


class _StopWhen(Stopper):
    """Ends the whole search when a condition holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial."""
        return False

    def stop_all(self) -> bool:
        """Tells whether the search ends now."""
        return self._condition()

    def __getstate__(self) -> dict[str, Any]:
        return {}


@contextlib.contextmanager
def _interrupts(flag: threading.Event) -> Iterator[None]:
    """Turns the first Ctrl-C into ``flag``; a second one raises at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: object) -> None:
        flag.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Ray's loggers silent: what they say about jobs is told to the source."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train", "ray.air")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
