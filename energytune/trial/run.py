"""One trial end to end: the only place where the stages meet.

features -> head probing -> energy -> finetuning -> adaptation, as a generator of events. Whoever
takes the events decides whether the trial goes on: closing the generator prunes it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import save

from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.paths import atomic_file
from energytune.science.adaptation import streamed_adaptation
from energytune.training.evaluate import evaluate
from energytune.training.features_extract import stream_features
from energytune.training.finetune import Finetuner
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.training.records import ProbeSnapshot
from energytune.trial.bench import Bench, BenchSpec
from energytune.trial.jobs import RunJob
from energytune.trial.records import (
    EpochsDone,
    Event,
    Finished,
    Job,
    ProbeDone,
    Probing,
    TestResult,
)

__all__ = ["make_run_job", "run_trial"]

_EVAL_BATCH = 256


def make_run_job(spec: BenchSpec) -> RunJob:
    """Builds a bench in this process and returns the function that runs jobs on it.

    The process takes over the search's cache folder, whatever its own environment says.
    """
    os.environ["ENERGYTUNE_CACHE"] = str(spec.cache)
    return partial(run_trial, spec.build())


def run_trial(bench: Bench, job: Job) -> Generator[Event, None, None]:
    """Runs one job.

    Yields ``Probing`` at each snapshot, ``ProbeDone``, one ``EpochsDone`` an epoch, ``Finished``.

    Args:
        bench: Data, backbone and caches.
        job: Recipe, seed and role. Only a ``"confirm"`` job reads the test split, and writes its
            weights to the bench's ``model_dir``.

    Raises:
        TrialFailure: If probing or finetuning diverges.
    """
    recipe = job.recipe.canonical()
    model = bench.model(recipe, job.seed)
    yield from _probe(bench, model, job)

    tuner = Finetuner(
        model,
        bench.splits.train,
        bench.splits.valid,
        bench.splits.task,
        bench.spec.finetune,
        ft_lr=recipe.ft_lr,
        seed=job.seed,
        device=bench.device,
    )
    started = perf_counter()
    for epoch in tuner:
        now = perf_counter()
        yield EpochsDone((epoch,), seconds=now - started)
        started = perf_counter()  # time spent with the consumer is not finetuning
    yield _finish(bench, tuner, job)


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
    before = bench.probe_data(job.recipe.reinit_depth).train.batches(_EVAL_BATCH)
    after = stream_features(model, train, batch_size=_EVAL_BATCH, device=bench.device)
    adaptation = streamed_adaptation(zip(before, after, strict=True))
    test = model_path = None
    if job.role == "confirm":
        test = _test(bench, model)
        model_path = str(_save(bench.spec.model_dir / f"{job.id}.safetensors", model))
    return Finished(
        objective=best.valid_acc,
        best_epoch=best.epoch,
        best_valid_loss=best.valid_loss,
        adaptation=adaptation.to_dict(),
        test=test,
        model_path=model_path,
        seconds=perf_counter() - started,
    )


def _test(bench: Bench, model: TaskModel) -> TestResult:
    split = bench.splits.test.open("evaluation of a confirmed recipe")
    model.eval()
    outcome = evaluate(model, split.batches(_EVAL_BATCH), bench.splits.task, bench.device)
    return TestResult(
        accuracy=outcome.accuracy,
        loss=outcome.loss,
        correct=tuple(bool(hit) for hit in outcome.correct.tolist()),
    )


def _save(path: Path, model: torch.nn.Module) -> Path:
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with atomic_file(path, "Free some space or choose another --out.") as file:
        file.write(save(tensors))
    return path.absolute()
