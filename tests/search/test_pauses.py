"""A search whose trials wait at rungs, on the real stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from energytune.config import SearchConfig
from energytune.optimizer import StudySource, make_halving, make_sampler, open_study
from energytune.paths import cache_dir
from energytune.search.run import run_search
from energytune.trial import EpochsDone, Event, Job, Paused, TrialRecord, run_inline
from energytune.trial.bench import BenchSpec
from energytune.trial.run import make_run_job

pytestmark = pytest.mark.integration
MakeConfig = Callable[..., SearchConfig]
RUNGS = (1, 4)


class Watcher:
    """Notes what a search tells; Ctrl-C at a pause, if that is wanted."""

    def __init__(self, stop_at_pause: int = 0) -> None:
        self.started: list[str] = []
        self.paused: list[tuple[str, int]] = []
        self.went_on: set[str] = set()
        self._stop_at_pause = stop_at_pause

    def job_started(self, job: Job) -> None:
        self.started.append(job.id)

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Paused):
                self.paused.append((job.id, event.epoch))
                if len(self.paused) == self._stop_at_pause:
                    raise KeyboardInterrupt
            elif isinstance(event, EpochsDone) and job.id in {name for name, _ in self.paused}:
                self.went_on.add(job.id)

    def job_ended(self, record: TrialRecord) -> None:
        pass


def bench_spec(config: SearchConfig, folder: Path) -> BenchSpec:
    return BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        probe=config.space.probe,
        finetune=config.space.finetune,
        cache=cache_dir(),
        model_dir=folder / "models",
    )


def timeless(record: TrialRecord) -> dict[str, Any]:
    clocks = {"seconds_hp", "seconds_ft", "started_ms", "ended_ms", "waited_ms", "n_hp_epochs_run"}
    plain = {name: value for name, value in record.to_dict().items() if name not in clocks}
    if plain["finished"]:
        plain["finished"].pop("seconds")
    return plain


def test_two_at_once_all_trials_end_and_what_goes_on_is_whole(
    ray_session: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    watcher = Watcher()
    config = make_config(n_trials=9, n_confirm_seeds=1, n_confirm_recipes=1)
    result = run_search(config, observers=[watcher])
    assert len(result.records) == 9
    assert {t.state for t in result.study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert watcher.went_on
    for record in result.records:
        n_run = len(record.epochs)
        assert [epoch.epoch for epoch in record.epochs] == list(range(1, n_run + 1))
        assert n_run in (0, *RUNGS) if record.state == "PRUNED" else n_run == 12
    assert [r.state for r in result.records[:2]] == ["COMPLETE", "COMPLETE"]
    assert [r for r in result.records[2:] if r.state == "COMPLETE"]
    assert len([name for name in watcher.started if name.startswith("t")]) == 9
    assert not (result.out / "models" / "checkpoints").exists()
    # whatever the number of trials: the weights of the model to keep, and no file a trial
    assert [path.name for path in (result.out / "models").iterdir()] == [
        f"{result.best_confirmation.job.id}.safetensors"
    ]
    named = {path.name.split(".")[0].split("-")[0] for path in result.out.rglob("*")}
    assert not named & {record.job.id for record in result.records}

    run_job = make_run_job(bench_spec(config, tmp_path))
    unpaused = next(r for r in result.records if r.job.id in watcher.went_on)
    told = [e for e in run_job(unpaused.job) if isinstance(e, EpochsDone)]
    assert tuple(event.epochs[0] for event in told[: len(unpaused.epochs)]) == unpaused.epochs


def test_ray_leaves_the_study_that_the_plain_loop_leaves(
    ray_session: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(
        n_trials=9, concurrency=1, n_confirm_seeds=1, n_confirm_recipes=1, sampler="tpe"
    )
    ours = run_search(config)
    pruner, rungs = make_halving("energy", 12)
    plain = open_study(
        f"journal://{tmp_path}/plain.journal",
        "plain",
        sampler=make_sampler("tpe", 0),
        pruner=pruner,
    )
    source = StudySource(
        plain, config.space, n_trials=9, seed=0, baseline_taus=(0, 64), rungs=rungs, n_finalists=1
    )
    spec = replace(bench_spec(config, tmp_path), pause_epochs=source.pause_epochs)
    run_inline(source, partial(make_run_job, spec)())
    assert [*map(timeless, source.records)] == [*map(timeless, ours.records)]
    assert [t.intermediate_values for t in plain.trials] == [
        t.intermediate_values for t in ours.study.trials
    ]


def test_interrupted_and_continued_it_is_the_same_search(
    ray_session: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    settings = {"n_trials": 7, "concurrency": 1, "n_confirm_seeds": 1, "n_confirm_recipes": 1}
    whole = run_search(make_config(**settings, out=tmp_path / "whole"))
    config = make_config(**settings, out=tmp_path / "parts")
    first = run_search(config, observers=[Watcher(stop_at_pause=5)])
    assert first.interrupted
    assert [t.state for t in first.study.trials].count(TrialState.RUNNING) >= 3
    assert list((first.out / "models" / "checkpoints").iterdir())
    parts = run_search(config)
    assert not [t for t in parts.study.trials if t.state == TrialState.RUNNING]
    assert [*map(timeless, parts.records)] == [*map(timeless, whole.records)]
