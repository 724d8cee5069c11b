"""One trial end to end: the only place where the stages meet.

features -> head probing -> energy -> finetuning -> adaptation, as a generator of events. Whoever
takes the events decides whether the trial goes on: closing the generator prunes it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter

import torch
from safetensors.torch import load_file, save

from energytune.errors import DataError, TrialFailure
from energytune.models import TaskModel
from energytune.paths import atomic_file, cache_dir
from energytune.science.adaptation import streamed_adaptation
from energytune.tasks.gather import EvidenceGatherer
from energytune.training.evaluate import evaluate
from energytune.training.features_extract import stream_features
from energytune.training.finetune import Finetuner
from energytune.training.gpu_memory import limit_memory
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.training.records import FinetuneEpoch, ProbeSnapshot
from energytune.trial.bench import Bench, BenchSpec
from energytune.trial.checkpoints import Checkpoint, CheckpointTimer
from energytune.trial.evidence_file import evidence_name, write_evidence
from energytune.trial.jobs import RunJob
from energytune.trial.records import (
    EpochsDone,
    Event,
    Finished,
    Job,
    ProbeDone,
    Probing,
    Tested,
    TestResult,
)

__all__ = ["build_here", "make_run_job", "run_trial"]


def make_run_job(spec: BenchSpec) -> RunJob:
    """Builds a bench in this process and returns the function that runs jobs on it.

    The process takes over the search's cache folder, whatever its own environment says; where
    there is a shared storage, it keeps its own.
    """
    limit_memory(spec.gpu_share)
    return partial(run_trial, build_here(spec))


def build_here(spec: BenchSpec) -> Bench:
    """Builds the bench in a process that the search has started, perhaps on another node.

    Raises:
        DataError: Data or weights are others than those of the search.
    """
    bench = _on_this_node(spec).build()
    if spec.content is None:
        return bench
    found = (bench.splits.fingerprint, bench.backbone.weights_sha256)
    for what, here, wanted in zip(("data", "backbone's weights"), found, spec.content, strict=True):
        if here != wanted and (what != "data" or spec.user_data is None):  # those travel with it
            raise DataError(
                f"The {what} on {socket.gethostname()} are others than where the search was "
                f"started (sha256 {here[:12]} instead of {wanted[:12]}). Copy them there, or share "
                "them with --storage-path."
            )
    return bench


def _on_this_node(spec: BenchSpec) -> BenchSpec:
    """Returns the description for this process, and makes its cache this process's own."""
    if spec.storage_path is not None:
        spec = replace(spec, cache=cache_dir().absolute())
    os.environ["ENERGYTUNE_CACHE"] = str(spec.cache)
    return spec


def run_trial(bench: Bench, job: Job) -> Generator[Event, None, None]:
    """Runs one job.

    Yields ``Probing`` at each snapshot, ``ProbeDone``, one ``EpochsDone`` an epoch, ``Finished``.
    A ``"test"`` job yields ``Tested``, and the events of its training before it if there was one.
    A job with a ``resume_epoch`` yields only the epochs after it, then ``Finished``: what it would
    have told had it never been paused. One that was lost on its way tells again what it had told
    up to its last checkpoint, at once, and goes on from there.

    Args:
        bench: Data, backbone and caches.
        job: Recipe, seed and role. A ``"confirm"`` job writes its weights to the bench's
            ``model_dir``. Only a ``"test"`` job reads the test split; it takes the weights of
            the confirmation ``job.tested``, and trains them again if they are not there.

    Raises:
        TrialFailure: If probing or finetuning diverges.
        OutputError: If the weights can't be written.
    """
    if job.role != "test":
        yield from _train(bench, job)
        return
    confirmation = replace(job, id=job.tested or job.id, role="confirm")
    name = _weights_name(confirmation)
    weights = bench.models.find(name)
    if weights is None:  # deleted when its recipe lost, and a longer search lets it win
        yield from _train(bench, confirmation)
        weights = bench.models.find(name)
    if weights is None:
        raise TrialFailure(f"The weights {name} vanished while they were read. Run again.")
    started = perf_counter()
    model = bench.model(job.recipe.canonical(), job.seed)
    model.load_state_dict(load_file(weights))
    bench.models.release(name)
    yield Tested(_test(bench, model, confirmation.id), seconds=perf_counter() - started)


def _train(bench: Bench, job: Job) -> Iterator[Event]:
    """Yields the events of head probing and finetuning; a confirmation keeps its weights."""
    model = bench.model(job.recipe.canonical(), job.seed)
    found = bench.checkpoints.load(job)
    probed = found.probe if found else None
    if probed is None:
        for event in _probe(bench, model, job):
            if isinstance(event, ProbeDone):
                probed = event
            if not job.resume_epoch:  # else it was told before the pause
                yield event
    elif not job.resume_epoch:
        yield probed
    run = _Finetune(bench, job, _tuner(bench, model, job), probed)
    if found is not None:
        run.go_on_from(found)
    yield from run.events()
    yield _finish(bench, run.tuner, job)


def _tuner(bench: Bench, model: TaskModel, job: Job) -> Finetuner:
    return Finetuner(
        model,
        bench.splits.train,
        bench.splits.valid,
        bench.splits.task,
        bench.spec.finetune,
        ft_lr=job.recipe.canonical().ft_lr,
        seed=job.seed,
        device=bench.device,
        engine=bench.spec.engine,
    )


def _probe(bench: Bench, model: TaskModel, job: Job) -> Iterator[Event]:
    n_epochs_run = 0

    def count(_epoch: int) -> None:
        nonlocal n_epochs_run
        n_epochs_run += 1

    recipe = job.recipe.canonical()
    snapshots: list[ProbeSnapshot] = []
    seconds, started = 0.0, perf_counter()
    run = HeadRun(
        model,
        bench.spec.probe,
        recipe.label_smoothing,
        bench.trajectory(recipe, job.seed),
    )
    for snapshot in probe(
        run,
        bench.probe_data(recipe.reinit_depth),
        bench.splits.task,
        seed=job.seed,
        tau=recipe.tau,
        store=bench.snapshots,
        on_epoch=count,
    ):
        snapshots.append(snapshot)
        seconds += perf_counter() - started
        yield Probing(snapshot, recipe.tau)
        started = perf_counter()  # time spent with the consumer is not probing
    seconds += perf_counter() - started
    yield ProbeDone(tuple(snapshots), seconds, n_epochs_run)


class _Finetune:
    """Yields the epochs of a finetune that were not told yet, and writes checkpoints."""

    def __init__(self, bench: Bench, job: Job, tuner: Finetuner, probed: ProbeDone | None) -> None:
        self.tuner = tuner
        self._bench, self._job = bench, job
        self._probed = probed or ProbeDone((), 0.0, 0)
        self._epochs: tuple[FinetuneEpoch, ...] = ()
        self._seconds = 0.0
        self._kept_epoch = 0

    def go_on_from(self, found: Checkpoint) -> None:
        self.tuner.load_state(found.state)
        self._epochs, self._seconds = found.epochs, found.seconds_ft
        self._kept_epoch = self.tuner.epoch

    def events(self) -> Iterator[EpochsDone]:
        told = self._job.resume_epoch
        if untold := self._epochs[told:]:  # of a worker that was lost
            yield EpochsDone(untold, self._seconds * len(untold) / len(self._epochs))
        timer = CheckpointTimer(self._bench.spec.checkpoint_s)
        started = perf_counter()
        try:
            for epoch in self.tuner:
                seconds = perf_counter() - started
                self._epochs, self._seconds = (*self._epochs, epoch), self._seconds + seconds
                if timer.is_due():
                    timer.write(self._keep)
                if epoch.epoch > told:  # else trained again, for its checkpoint was not there
                    yield EpochsDone((epoch,), seconds)
                started = perf_counter()  # time spent with the consumer is not finetuning
        except GeneratorExit:
            if self._job.is_trial and self.tuner.epoch in self._bench.spec.pause_epochs:
                self._keep()
            raise

    def _keep(self) -> None:
        if self._kept_epoch != self.tuner.epoch:
            state = Checkpoint(self.tuner.state(), self._probed, self._epochs, self._seconds)
            self._bench.checkpoints.save(self._job, state)
            self._kept_epoch = self.tuner.epoch


def _finish(bench: Bench, tuner: Finetuner, job: Job) -> Finished:
    started = perf_counter()
    best = tuner.best
    if best is None:
        raise TrialFailure("No finetuning epoch was run; finetune.epochs must be at least 1.")
    tuner.load_best()
    model = tuner.model
    train = bench.splits.train
    before = bench.probe_data(job.recipe.reinit_depth).train.batches(bench.eval_batch)
    after = stream_features(
        model,
        train,
        batch_size=bench.eval_batch,
        device=bench.device,
        engine=bench.spec.engine,
    )
    adaptation = streamed_adaptation(
        (model.feature_values(z_0), model.feature_values(z_t))
        for z_0, z_t in zip(before, after, strict=True)
    )
    model_path = None
    if job.role == "confirm":
        model_path = _save(bench, _weights_name(job), model)
    return Finished(
        objective=best.valid_acc,
        best_epoch=best.epoch,
        best_valid_loss=best.valid_loss,
        adaptation=adaptation.to_dict(),
        model_path=model_path,
        seconds=perf_counter() - started,
        stop_reason=tuner.stop_reason,
    )


def _test(bench: Bench, model: TaskModel, name: str) -> TestResult:
    split = bench.splits.test.open(f"evaluation of the confirmed model {name}")
    model.eval()
    task = bench.splits.task
    gatherer = EvidenceGatherer(task)
    batches = split.batches(bench.eval_batch)
    outcome = evaluate(model, batches, task, bench.device, watch=gatherer.add)
    # Of pixels there are millions, and what is right of one image is no yes or no.
    per_sample = outcome.correct.tolist() if outcome.correct.ndim == 1 else ()
    path = None
    if task.metric != "accuracy":  # else ``correct`` says all
        file_name = evidence_name(name)
        write_evidence(bench.models.path(file_name), gatherer.evidence())
        path = bench.models.publish(file_name)
    return TestResult(
        accuracy=outcome.accuracy,
        loss=outcome.loss,
        correct=tuple(bool(hit) for hit in per_sample),
        evidence_path=path,
    )


def _weights_name(job: Job) -> str:
    return f"{job.id}.safetensors"


def _save(bench: Bench, name: str, model: torch.nn.Module) -> str:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    path = bench.models.path(name)
    with atomic_file(path, "Free some space or choose another --out.") as file:
        file.write(save(tensors))
    return bench.models.publish(name)
