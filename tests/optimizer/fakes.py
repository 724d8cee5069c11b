"""Fake jobs: no training, numbers that depend on the recipe only."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.study import Study

from energytune.config import FinetuneConfig, Recipe, SearchSpace, snapshot_epochs
from energytune.optimizer import EnergyPruner, StudySource, make_pruner, make_sampler, open_study
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import EpochsDone, Event, Finished, Idle, Job, ProbeDone

N_EPOCHS = 50
NO_PRUNER = EnergyPruner(N_EPOCHS, inner=optuna.pruners.NopPruner())
FINISHED = Finished(0.8, 1, 0.4, {})


def take(job: Job | Idle) -> Job:
    """Returns the job that there must be."""
    assert isinstance(job, Job)
    return job


def make_space(n_epochs: int = N_EPOCHS, **changes: object) -> SearchSpace:
    dimensions: dict[str, object] = {
        "tau": {"low": 0, "high": 4096},
        "label_smoothing": {"low": 0.0, "high": 0.3, "step": 0.05},
        "reinit_depth": {"low": 0, "high": 2},
        "ft_lr": {"low": 1e-3, "high": 1e-1},
        "finetune": FinetuneConfig(epochs=n_epochs),
    }
    return SearchSpace.model_validate(dimensions | changes)


def probe_at(epoch: int, recipe: Recipe, **changes: float) -> ProbeSnapshot:
    """A probe that converges within some 300 epochs to the smoothing's reserve."""
    left = math.exp(-epoch / 60)
    numbers = {
        "train_acc": 1 - 0.9 * left,
        "train_loss": 0.1 + 2 * left,
        "valid_acc": 0.8 - 0.7 * left,
        "valid_loss": 0.5 + 2 * left,
        "aie": 0.9 * recipe.label_smoothing + 0.9 * left,
        "head_norm": 2 + math.log1p(epoch),
        "pull_norm": 0.5,
    }
    return ProbeSnapshot(epoch=epoch, **(numbers | changes))


def probe_done(recipe: Recipe, **changes: float) -> ProbeDone:
    epochs = snapshot_epochs(recipe.tau)
    return ProbeDone(tuple(probe_at(e, recipe, **changes) for e in epochs), 0.5, recipe.tau)


def quality(recipe: Recipe) -> float:
    rng = random.Random(recipe.key())
    return (
        0.9
        - 0.01 * abs(math.log1p(recipe.tau) - 5)
        - 0.03 * abs(math.log10(recipe.ft_lr) + 2)
        + 0.01 * rng.random()
    )


def ft_epoch(epoch: int, valid_acc: float, valid_loss: float = 0.4) -> FinetuneEpoch:
    return FinetuneEpoch(epoch, 0.3, 0.9, valid_loss, valid_acc)


def make_run_job(
    n_epochs: int = N_EPOCHS, ran: list[Job] | None = None
) -> Callable[[Job], Generator[Event, None, None]]:
    def run_job(job: Job) -> Generator[Event, None, None]:
        if ran is not None:
            ran.append(job)
        yield probe_done(job.recipe)
        best, best_epoch = -1.0, 0
        for epoch in range(1, n_epochs + 1):
            accuracy = quality(job.recipe) * (1 - math.exp(-6 * epoch / n_epochs))
            if accuracy > best:
                best, best_epoch = accuracy, epoch
            yield EpochsDone((ft_epoch(epoch, accuracy),), 0.01)
        yield Finished(best, best_epoch, 0.4, {"feature_distance": 1.5}, seconds=0.1)

    return run_job


STOP_REASON = "stopped: no better validation since epoch 17, patience 3 epochs"


def stopping(job: Job) -> Generator[Event, None, None]:
    """Every third job is best at epoch 17 and stops by itself at 20; the others run on."""
    best = ft_epoch(1, -1.0)
    for event in make_run_job()(job):
        if job.number % 3 != 2 or not isinstance(event, EpochsDone):
            yield event
            continue
        epoch = event.epochs[0]
        if epoch.epoch > 17:
            epoch = replace(epoch, valid_acc=epoch.valid_acc - 0.1)
        best = max(best, epoch, key=lambda seen: seen.valid_acc)
        yield EpochsDone((epoch,), 0.01)
        if epoch.epoch == 20:
            yield Finished(best.valid_acc, best.epoch, 0.4, {}, stop_reason=STOP_REASON)
            return


def memory_study(pruner: BasePruner | None = None, seed: int = 0, name: str = "tpe") -> Study:
    return optuna.create_study(
        direction="maximize",
        sampler=make_sampler(name, seed),
        pruner=make_pruner("energy", N_EPOCHS) if pruner is None else pruner,
    )


def journal_study(path: Path, pruner: BasePruner | None = None, seed: int = 0) -> Study:
    return open_study(
        f"journal://{path}",
        "search",
        sampler=make_sampler("tpe", seed),
        pruner=make_pruner("energy", N_EPOCHS) if pruner is None else pruner,
    )


def make_source(study: Study, space: SearchSpace | None = None, **changes: Any) -> StudySource:
    settings: dict[str, Any] = {"n_trials": 12, "seed": 0}
    return StudySource(study, space or make_space(), **(settings | changes))
