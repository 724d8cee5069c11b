"""A store as a user has it after some days: three searches of 34 trials and a registered model.

Nothing is trained. Jobs tell made-up numbers, and everything behind them is what a search uses:
the study in its journal file, the sampler, the pruner and the pauses, the observer, the journal
of the tracking, its replay into MLflow, and the registry.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from energytune.config import Recipe
from energytune.models import build_model, create_backbone
from energytune.optimizer import StudySource, make_sampler, open_study
from energytune.optimizer.halving import make_halving
from energytune.tracking import TrackingJournal, TrackingObserver, default_uri, sync
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.parent import find_parent_run
from energytune.tracking.registry import register_winner
from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Job,
    Observer,
    TestResult,
    TrialRecord,
)
from energytune.trial.builder import RecordBuilder
from tests.optimizer.fakes import ft_epoch, make_space, probe_done
from tests.optimizer.pausing import run_interleaved

__all__ = ["MODEL", "N_TRIALS", "Search", "ThreeSearches", "make_three_searches", "run_study"]

N_TRIALS = 34
MODEL = "energytune-digits"
N_EPOCHS = 50
N_TEST = 400


class Stopped(Exception):
    """The search is interrupted here."""


@dataclass(frozen=True)
class Search:
    """One of the searches.

    Attributes:
        folder: Its output folder.
        dataset: Its dataset.
        search_id: Its id.
        link: The deep link that a search prints at its end.
        records: Its ended trials.
        model: The registered winner, if there is one.
    """

    folder: Path
    dataset: str
    search_id: str
    link: str
    records: list[TrialRecord]
    model: RegisteredModel | None


@dataclass(frozen=True)
class ThreeSearches:
    """All of them.

    Attributes:
        home: The folder they share, with the MLflow store.
        uri: That store.
        searches: Two on digits, the second better than the first; one on another dataset that
            was interrupted.
    """

    home: Path
    uri: str
    searches: tuple[Search, ...]


def make_three_searches(home: Path) -> ThreeSearches:
    """Makes the store in an empty folder; it takes some ten seconds."""
    home.mkdir(parents=True, exist_ok=True)
    uri = default_uri(home)
    weights = home / "weights.safetensors"
    backbone = create_backbone("digits-mlp", weights="none", seed=1)
    network = build_model(backbone, head_arch="mlp", n_outputs=10, reinit_depth=0, seed=5)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    plans = (
        ("digits-20260301-0915", "digits", 0, 0.0),
        ("digits-20260302-1140", "digits", 1, 0.04),
        ("digits-rotated-20260303-0800", "digits-rotated", 2, -0.05),
    )
    searches = []
    for name, dataset, seed, lift in plans:
        searches.append(_search(home / name, uri, dataset, seed, lift, weights, network.spec()))
    return ThreeSearches(home, uri, tuple(searches))


def run_study(
    url: str,
    name: str,
    seed: int,
    *,
    n_trials: int = N_TRIALS,
    lift: float = 0.0,
    interrupted: bool = False,
    observers: Sequence[Observer] = (),
) -> StudySource:
    """Runs a made-up search whose study lies at ``url``.

    Args:
        url: URL of Optuna's storage.
        name: Name of the study.
        seed: Of the sampler and of the accuracies.
        n_trials: Trials that begin.
        lift: Added to every accuracy.
        interrupted: Whether it is stopped with trials running and paused.
        observers: Are told of all jobs.
    """
    pruner, rungs = make_halving("energy", N_EPOCHS)
    study = open_study(url, name, sampler=make_sampler("tpe", seed), pruner=pruner)
    source = StudySource(
        study,
        make_space(head_arch=["linear", "mlp"]),
        n_trials=n_trials + 6 * interrupted,
        seed=seed,
        rungs=rungs,
        observers=observers,
    )
    with suppress(Stopped):
        run_interleaved(source, _Jobs(lift, n_trials if interrupted else None), 3, seed)
    return source


def _search(
    folder: Path,
    uri: str,
    dataset: str,
    seed: int,
    lift: float,
    weights: Path,
    spec: dict[str, object],
) -> Search:
    folder.mkdir()
    search_id = f"{seed:02d}c0ffee{seed:04d}"
    url = f"journal://{folder / 'study.journal'}"
    journal = TrackingJournal(folder / "tracking.jsonl")
    told = {"sampler": "tpe", "pruner": "energy", "n_trials": N_TRIALS, "ft_epochs": N_EPOCHS}
    told |= {"seed": seed, "space": "default", "protocol": f"{dataset} test {N_TEST}"}
    observer = TrackingObserver(journal, search_id, dataset, "digits-mlp", told, progress_s=0.0)
    interrupted = dataset != "digits"
    source = run_study(
        url, folder.name, seed, lift=lift, interrupted=interrupted, observers=[observer]
    )
    best = max(source.records, key=lambda record: record.objective or -1.0)
    objective = best.objective
    if objective is None:
        raise RuntimeError("no trial of the made-up search is complete")
    confirmed = [] if interrupted else _confirm(observer, best.job, objective, weights)
    observer.finish(
        metrics={"objective": objective},
        tags={"winner": f"t{best.job.number:03d} {best.job.recipe.label()}"},
        status="KILLED" if interrupted else "FINISHED",
        reason="interrupted" if interrupted else "",
    )
    sync(folder, uri)
    model = None if interrupted else _register(folder, uri, dataset, search_id, confirmed[0], spec)
    link, _ = find_parent_run(uri, dataset, search_id)
    if link is None:
        raise RuntimeError(f"the search {search_id} is not in {uri}")
    return Search(folder, dataset, search_id, link, source.records, model)


class _Jobs:
    """Runs jobs with an interior optimum in tau: an accuracy that rises and falls with AIE.

    Args:
        lift: Added to every accuracy.
        stop_at: Number of the trial at which the search is interrupted; None runs it whole.
    """

    def __init__(self, lift: float, stop_at: int | None) -> None:
        self._lift, self._stop_at = lift, stop_at

    def __call__(self, job: Job) -> Generator[Event, None, None]:
        if job.number == self._stop_at:
            raise Stopped
        yield probe_done(job.recipe)
        if job.number == 11:
            yield EpochsDone((ft_epoch(1, 0.1, math.nan),), 0.06)
        level = quality(job.recipe, job.seed) + self._lift
        best = ft_epoch(1, -1.0)
        for epoch in range(1, N_EPOCHS + 1):
            noise = 0.004 * math.sin(epoch * (1 + job.number))
            now = ft_epoch(epoch, level * (1 - math.exp(-7 * epoch / N_EPOCHS)) + noise)
            best = max(best, now, key=lambda seen: seen.valid_acc)
            yield EpochsDone((now,), 0.06)
        drift = 2.5 * math.exp(-math.log1p(job.recipe.tau) / 4)
        adaptation = {"feature_distance": drift, "feature_cosine": 1 - drift / 10}
        yield Finished(best.valid_acc, best.epoch, best.valid_loss, adaptation, seconds=0.1)


def quality(recipe: Recipe, seed: int) -> float:
    """Returns the accuracy at which finetuning a recipe ends; best near tau = 64."""
    rng = random.Random(f"{recipe.key()} {seed}")
    return (
        0.93
        - 0.006 * (math.log2(recipe.tau + 1) - 6) ** 2
        - 0.05 * abs(math.log10(recipe.ft_lr) + 2)
        + 0.01 * (recipe.head_arch == "mlp")
        + rng.gauss(0, 0.006)
    )


def _confirm(
    observer: TrackingObserver, job: Job, objective: float, weights: Path
) -> list[TrialRecord]:
    """Tells the confirmation of the best recipe: three seeds, tested."""
    records = []
    n_right = round(N_TEST * (objective - 0.02))
    for number in range(3):
        again = Job(f"c{job.number:03d}-s{1000 + number}", job.number, job.recipe, 1000 + number,
                    "confirm")  # fmt: skip
        correct = tuple(k < n_right for k in range(N_TEST))
        test = TestResult(n_right / N_TEST, 0.3, correct)
        builder = RecordBuilder(again)
        builder.add(probe_done(again.recipe))
        for epoch in range(1, N_EPOCHS + 1):
            accuracy = objective * (1 - math.exp(-7 * epoch / N_EPOCHS))
            builder.add(EpochsDone((ft_epoch(epoch, accuracy),), 0.06))
        builder.add(Finished(objective, N_EPOCHS, 0.3, {}, test, str(weights)))
        records.append(builder.build("COMPLETE", ended_ms=builder.started_ms + 4000))
        observer.job_ended(records[-1])
    return records


def _register(
    folder: Path,
    uri: str,
    dataset: str,
    search_id: str,
    record: TrialRecord,
    spec: dict[str, object],
) -> RegisteredModel:
    finished = record.finished
    if finished is None or finished.test is None or finished.model_path is None:
        raise RuntimeError("a confirmation has no tested model")
    return register_winner(
        uri,
        dataset,
        run_folder=folder,
        weights=finished.model_path,
        spec=spec,
        score=finished.test.accuracy,
        protocol=f"{dataset} test {N_TEST}; accuracy",
        correct=finished.test.correct,
        recipe=record.job.recipe,
        run_uid=f"{search_id}.{record.job.id}",
        search_id=search_id,
        input_shape=(64,),
        class_names=[str(k) for k in range(10)],
        tags={"backbone": "digits-mlp", "seed": str(record.job.seed)},
    )
