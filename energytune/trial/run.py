"""One trial end to end: the only place where the stages meet.

features -> head probing -> energy -> finetuning -> adaptation, as a generator of events. Whoever
takes the events decides whether the trial goes on: closing the generator prunes it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import load_file, save

from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.paths import atomic_file
from energytune.science.adaptation import streamed_adaptation
from energytune.tasks.evidence import EvidenceGatherer
from energytune.training.evaluate import evaluate
from energytune.training.features_extract import stream_features
from energytune.training.finetune import Finetuner
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.training.records import ProbeSnapshot
from energytune.trial.bench import Bench, BenchSpec
from energytune.trial.evidence_file import write_evidence
from energytune.trial.jobs import RunJob
from energytune.trial.paused_state import drop_state, keep_state, kept_state
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

__all__ = ["make_run_job", "run_trial"]


def make_run_job(spec: BenchSpec) -> RunJob:
    """Builds a bench in this process and returns the function that runs jobs on it.

    The process takes over the search's cache folder, whatever its own environment says.
    """
    os.environ["ENERGYTUNE_CACHE"] = str(spec.cache)
    return partial(run_trial, spec.build())


def run_trial(bench: Bench, job: Job) -> Generator[Event, None, None]:
    """Runs one job.

    Yields ``Probing`` at each snapshot, ``ProbeDone``, one ``EpochsDone`` an epoch, ``Finished``.
    A ``"test"`` job yields ``Tested``, and the events of its training before it if there was one.
    A job with a ``resume_epoch`` yields only the epochs after it, then ``Finished``: what it would
    have told had it never been paused.

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
    weights = _weights_path(bench, confirmation)
    if not weights.exists():  # deleted when its recipe lost, and a longer search lets it win
        yield from _train(bench, confirmation)
    started = perf_counter()
    model = bench.model(job.recipe.canonical(), job.seed)
    model.load_state_dict(load_file(weights))
    yield Tested(_test(bench, model, confirmation.id), seconds=perf_counter() - started)


def _train(bench: Bench, job: Job) -> Iterator[Event]:
    """Yields the events of head probing and finetuning; a confirmation keeps its weights."""
    model = bench.model(job.recipe.canonical(), job.seed)
    state = kept_state(bench.spec.model_dir, job) if job.resume_epoch else None
    if state is None:
        for event in _probe(bench, model, job):
            if not job.resume_epoch:  # else it was told before the pause
                yield event
    tuner = _tuner(bench, model, job)
    if state is not None:
        tuner.load_state(state)
    yield from _finetune(bench, tuner, job)
    if bench.spec.pause_epochs:
        drop_state(bench.spec.model_dir, job)
    yield _finish(bench, tuner, job)


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
    )


def _finetune(bench: Bench, tuner: Finetuner, job: Job) -> Iterator[Event]:
    """Yields the epochs that were not told yet; where it is closed at a rung it keeps its state."""
    started = perf_counter()
    try:
        for epoch in tuner:
            if epoch.epoch <= job.resume_epoch:  # trained again, for its state was not there
                continue
            now = perf_counter()
            yield EpochsDone((epoch,), seconds=now - started)
            started = perf_counter()  # time spent with the consumer is not finetuning
    except GeneratorExit:
        if job.is_trial and tuner.epoch in bench.spec.pause_epochs:
            room = bench.spec.max_state_bytes
            keep_state(bench.spec.model_dir, job, tuner.state(), room)
        raise


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


def _finish(bench: Bench, tuner: Finetuner, job: Job) -> Finished:
    started = perf_counter()
    best = tuner.best
    if best is None:
        raise TrialFailure("No finetuning epoch was run; finetune.epochs must be at least 1.")
    tuner.load_best()
    model = tuner.model
    train = bench.splits.train
    before = bench.probe_data(job.recipe.reinit_depth).train.batches(bench.eval_batch)
    after = stream_features(model, train, batch_size=bench.eval_batch, device=bench.device)
    adaptation = streamed_adaptation(
        (model.feature_values(z_0), model.feature_values(z_t))
        for z_0, z_t in zip(before, after, strict=True)
    )
    model_path = None
    if job.role == "confirm":
        model_path = str(_save(_weights_path(bench, job), model))
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
        path = str(write_evidence(_evidence_path(bench, name), gatherer.evidence()))
    return TestResult(
        accuracy=outcome.accuracy,
        loss=outcome.loss,
        correct=tuple(bool(hit) for hit in per_sample),
        evidence_path=path,
    )


def _evidence_path(bench: Bench, confirmation_id: str) -> Path:
    return bench.spec.model_dir / f"{confirmation_id}.test.safetensors"


def _weights_path(bench: Bench, job: Job) -> Path:
    return bench.spec.model_dir / f"{job.id}.safetensors"


def _save(path: Path, model: torch.nn.Module) -> Path:
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with atomic_file(path, "Free some space or choose another --out.") as file:
        file.write(save(tensors))
    return path.absolute()
