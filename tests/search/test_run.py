"""The real stack: Optuna, Ray, MLflow and real digits, on a space that takes seconds."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import mlflow
import pytest
import torch

from energytune.config import SearchConfig
from energytune.errors import BudgetError, ConfigError, EnergyTuneError, OutputError, ResourceError
from energytune.optimizer import best_first
from energytune.report.costs import costs
from energytune.search.result import TuneResult
from energytune.search.run import run_search
from energytune.trial import TrialRecord
from tests.search.counter import Counter

pytestmark = pytest.mark.integration
MakeConfig = Callable[..., SearchConfig]


def timeless(record: TrialRecord) -> dict[str, Any]:
    """Returns a record without what the clock and the cache decide."""
    clocks: dict[str, Any] = dict.fromkeys(
        ("seconds_hp", "seconds_ft", "started_ms", "ended_ms", "waited_ms"), 0
    )
    plain = replace(record, **clocks).to_dict()
    plain.pop("n_hp_epochs_run")
    if plain["finished"]:
        plain["finished"].pop("seconds")
        plain["finished"].pop("model_path")
    return plain


@pytest.fixture(scope="module")
def searched(
    ray_session: None, tmp_path_factory: pytest.TempPathFactory, _session_cache: str
) -> tuple[TuneResult, list[str]]:
    """One finished search that several tests look at."""
    from energytune.config import SearchSpace

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", _session_cache)
        counter = Counter()
        space = SearchSpace.model_validate(
            {
                "tau": {"low": 0, "high": 64},
                "label_smoothing": {"low": 0.0, "high": 0.3, "step": 0.15},
                "reinit_depth": {"low": 0, "high": 1},
                "ft_lr": {"low": 0.003, "high": 0.05, "default": 0.02},
                "finetune": {"epochs": 12},
            }
        )
        config = SearchConfig(
            dataset="digits",
            space=space,
            n_trials=6,
            n_confirm_seeds=3,
            concurrency=2,
            out=tmp_path_factory.mktemp("searched") / "run",
        )
        return run_search(config, observers=[counter]), counter.started


def test_a_search_begins_with_both_baselines_and_ends_with_a_confirmed_winner(
    searched: tuple[TuneResult, list[str]],
) -> None:
    from energytune.data import load_dataset

    result, _ = searched
    assert [r.job.recipe.tau for r in result.records[:2]] == [0, 64]
    assert [r.job.role for r in result.records[:3]] == [
        "baseline_tau_0",
        "baseline_tau_max",
        "search",
    ]
    assert len(result.records) == 6
    assert {r.state for r in result.records} <= {"COMPLETE", "PRUNED"}
    assert result.winner is not None
    first, *others = result.confirmed
    assert result.winner.job.number == first.number
    best = best_first(result.records, len(load_dataset("digits").valid))[0]
    assert {0, 1, best.job.number} <= {s.number for s in result.confirmed}
    for standing in (first, *(s for s in others if not s.dropped)):
        runs = {r.job.seed: r for r in result.confirmations if r.job.number == standing.number}
        assert set(runs) == {1000, 1001, 1002}
        mean = fmean(r.objective or 0.0 for r in runs.values())
        assert standing.mean == pytest.approx(mean)
        assert mean <= (first.mean or 0.0) + 1e-12
    assert result.seed_noise is not None
    assert result.seed_deviation == result.seed_noise.deviation > 0


def test_the_test_split_is_read_once_for_the_winner_and_the_baselines(
    searched: tuple[TuneResult, list[str]],
) -> None:
    result, started = searched
    assert result.winner is not None
    assert all(r.finished is None or r.finished.test is None for r in result.records)
    tested = []
    for run in result.confirmations:
        assert run.finished is not None
        if run.finished.test is not None:
            tested.append(run.job.id)
            assert len(run.finished.test.correct) == 597
    numbers = {result.winner.job.number, 0, 1}
    wanted = [f"c{n:03d}-s{seed}" for n in numbers for seed in (1000, 1001, 1002)]
    assert sorted(tested) == sorted(wanted)
    assert sorted(i for i in started if i.endswith("-test")) == sorted(f"{i}-test" for i in wanted)


def test_every_stage_leaves_its_numbers_in_the_record(
    searched: tuple[TuneResult, list[str]],
) -> None:
    result, _ = searched
    for record in result.records:
        assert [s.epoch for s in record.snapshots][-1] == record.job.recipe.tau
        assert [e.epoch for e in record.epochs] == list(range(1, len(record.epochs) + 1))
    assert result.winner is not None
    assert result.winner.finished is not None
    assert set(result.winner.finished.adaptation) == {
        "feature_distance",
        "feature_cosine",
        "feature_dot",
        "feature_norm",
    }


def test_the_best_model_is_the_one_that_was_tested(
    searched: tuple[TuneResult, list[str]],
) -> None:
    from energytune.data import load_dataset

    result, _ = searched
    model = result.best_model()
    test = load_dataset("digits").test.open("a test of the stored weights")
    with torch.no_grad():
        hits = torch.cat([model(x).argmax(1) == y for x, y in test.batches(256)])
    finished = result.best_confirmation.finished
    assert finished is not None
    assert finished.test is not None
    assert tuple(hits.tolist()) == finished.test.correct


def test_the_study_and_the_table_tell_the_same_as_the_records(
    searched: tuple[TuneResult, list[str]],
) -> None:
    result, _ = searched
    trials = result.study.trials
    assert [t.state.name for t in trials] == [r.state for r in result.records]
    values = [t.value for t in trials if t.state.name == "COMPLETE"]
    assert values == [r.objective for r in result.records if r.objective is not None]
    assert list(result.trials["tau"]) == [r.job.recipe.tau for r in result.records]
    assert set(result.energy_map.columns) >= {"tau", "aie", "hp_train_acc"}


def test_figures_and_html_can_be_made(searched: tuple[TuneResult, list[str]]) -> None:
    result, _ = searched
    for figure in (
        result.plot_tau(),
        result.plot_energy(),
        result.plot_curves(),
        result.plot_energy_map(),
    ):
        assert figure.axes
    assert "FT-valid-acc" in result._repr_html_()


def test_mlflow_has_a_parent_a_run_a_trial_and_the_champion(
    searched: tuple[TuneResult, list[str]],
) -> None:
    result, started = searched
    assert result.tracking.warning is None
    assert result.tracking.n_unsent == 0
    client = mlflow.MlflowClient(result.tracking.uri, result.tracking.uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    assert experiment is not None
    nested = client.search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{result.mlflow_run_id}'"
    )
    assert {run.data.params["tau"] for run in nested} >= {"0", "64"}
    assert len(nested) == sum(not job.endswith("-test") for job in started)
    tested = {run.info.run_name for run in nested if "test/accuracy" in run.data.metrics}
    assert {name.split()[0] + "-test" for name in tested} == {
        job for job in started if job.endswith("-test")
    }
    assert result.registered is not None
    assert result.registered.is_champion
    version = client.get_model_version_by_alias("energytune-digits", "champion")
    assert str(version.version) == str(result.registered.version)


def test_the_plan_was_about_right(searched: tuple[TuneResult, list[str]]) -> None:
    result, _ = searched
    plan, spent = result.plan, costs(result.records, result.confirmations)
    assert plan is not None
    assert plan.trials.ft_epochs.low / 3 <= spent.ft_epochs <= 3 * plan.trials.ft_epochs.high
    confirm = plan.confirm_ft_epochs
    assert confirm.low / 3 <= spent.ft_epochs_confirm <= 3 * confirm.high
    assert plan.n_confirm_runs.low <= len(result.confirmations) <= plan.n_confirm_runs.high
    assert result.about["end"]["plan"]["n_trials"] == result.config.n_trials
    assert plan.disk_bytes.low / 3 <= result.written_bytes <= 3 * plan.disk_bytes.high


def test_what_no_budget_can_hold_is_refused_before_a_trial(
    make_config: Callable[..., SearchConfig], ray_session: None
) -> None:
    counter = Counter()
    with pytest.raises(BudgetError, match=r"max_disk = 1\.0 MB is too little"):
        run_search(make_config(max_disk="1MB"), observers=[counter])
    with pytest.raises(ConfigError, match="gpu_hours = 1 needs GPUs"):
        run_search(make_config(gpu_hours=1.0, gpus_per_trial=0), observers=[counter])
    assert counter.started == []


def test_only_the_winners_weights_are_kept(searched: tuple[TuneResult, list[str]]) -> None:
    result, _ = searched
    kept = [p.name for p in (result.out / "models").iterdir()]
    assert kept == [f"{result.best_confirmation.job.id}.safetensors"]


def test_the_same_search_again_runs_nothing_and_says_the_same(
    searched: tuple[TuneResult, list[str]], ray_session: None
) -> None:
    result, _ = searched
    counter = Counter()
    again = run_search(result.config, observers=[counter])
    assert counter.started == []
    assert list(map(timeless, again.records)) == list(map(timeless, result.records))
    assert again.registered is not None
    assert result.registered is not None
    assert again.registered.version == result.registered.version
    assert again.best_confirmation.job == result.best_confirmation.job


def test_more_trials_continue_where_it_ended(ray_session: None, make_config: MakeConfig) -> None:
    first = run_search(make_config(n_trials=3))
    counter = Counter()
    more = run_search(make_config(n_trials=5), observers=[counter])
    assert list(map(timeless, more.records[:3])) == list(map(timeless, first.records))
    assert [job for job in counter.started if job.startswith("t")] == ["t003", "t004"]


def test_the_same_seed_gives_the_same_records(
    ray_session: None,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = []
    for name in ("a", "b"):
        monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / f"cache-{name}"))
        runs.append(run_search(make_config(out=tmp_path / name, concurrency=1)))
    for attribute in ("records", "confirmations"):
        first, second = ([timeless(r) for r in getattr(run, attribute)] for run in runs)
        assert first == second


def test_ray_leaves_the_study_that_plain_optuna_would_leave(
    ray_session: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    """With a pruner that pauses nothing: plain Optuna can't go back to a trial."""
    from energytune.optimizer import make_pruner, make_sampler, open_study, optimize_serially
    from energytune.paths import cache_dir
    from energytune.trial.bench import BenchSpec
    from energytune.trial.run import make_run_job

    config = make_config(
        n_trials=8, concurrency=1, sampler="tpe", pruner="median", n_confirm_seeds=1
    )
    ours = run_search(config).study
    plain = open_study(
        f"journal://{tmp_path}/plain.journal",
        "plain",
        sampler=make_sampler("tpe", 0),
        pruner=make_pruner("median", config.space.finetune.epochs),
    )
    spec = BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        probe=config.space.probe,
        finetune=config.space.finetune,
        cache=cache_dir(),
        model_dir=tmp_path / "models",
    )
    optimize_serially(plain, config.space, 8, partial(make_run_job, spec)(), baseline_taus=(0, 64))

    def told(study: Any) -> list[tuple[Any, ...]]:
        return [(t.params, t.state, t.value, t.intermediate_values) for t in study.trials]

    assert told(ours) == told(plain)
    assert len({t.state for t in plain.trials}) == 2  # complete and pruned


def test_a_trial_that_diverges_is_failed_and_the_search_goes_on(
    ray_session: None, make_config: MakeConfig
) -> None:
    space = make_config().space.model_dump()
    space["ft_lr"] = {"low": 1e-2, "high": 1e12, "default": 1e-2}
    result = run_search(make_config(space=space, n_trials=6, n_confirm_seeds=1))
    failed = [r for r in result.records if r.state == "FAIL"]
    assert failed
    assert all("diverged" in r.reason for r in failed)
    assert all(r.objective is None for r in failed)
    assert result.winner is not None
    assert result.winner.state == "COMPLETE"


def test_with_the_tracking_server_down_the_search_completes_and_sync_sends_all(
    ray_session: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    from energytune.tracking import sync

    result = run_search(make_config(tracking_uri="http://127.0.0.1:9", n_trials=3))
    assert result.winner is not None
    assert result.registered is None
    assert result.tracking.warning is not None
    assert "energytune sync" in result.tracking.warning
    assert result.tracking.n_unsent > 0

    uri = f"sqlite:///{tmp_path}/later.db"
    sent = sync(result.out, uri)
    assert sent.model is not None
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    assert experiment is not None
    n_jobs = 1 + len(result.records) + len(result.confirmations)
    assert len(client.search_runs([experiment.experiment_id])) == n_jobs


def test_a_budget_that_is_over_before_a_trial_ends_is_an_error_that_loses_nothing(
    ray_session: None, make_config: MakeConfig
) -> None:
    with pytest.raises(BudgetError, match=r"ended before one trial was complete.*--out"):
        run_search(make_config(time_budget_s=0.001))
    assert run_search(make_config(n_trials=2, n_confirm_seeds=1)).winner is not None


def test_if_every_trial_fails_the_reasons_are_told(
    ray_session: None, make_config: MakeConfig
) -> None:
    space = make_config().space.model_dump()
    space["ft_lr"] = {"low": 1e12, "high": 1e12}
    with pytest.raises(EnergyTuneError, match=r"None of 3 trials is complete: .*diverged"):
        run_search(make_config(space=space, n_trials=3))


def test_a_disk_that_fills_is_an_output_error_that_loses_nothing(
    ray_session: None, make_config: MakeConfig
) -> None:
    """A limit on this process's files stands for the disk: the write over it fails alike."""
    # Nothing is paused, so that each trial is a job of Ray's once: Ray keeps a file of them too.
    config = make_config(n_trials=12, n_confirm_seeds=1, pruner="median")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, hard))
    try:
        with pytest.raises(OutputError, match=r"can't be written: File too large"):
            run_search(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    counter = Counter()
    result = run_search(config, observers=[counter])
    assert len(result.records) == 12
    n_run_again = sum(job.startswith("t") for job in counter.started)
    assert 0 < n_run_again < 12


def test_a_gpu_that_is_not_there_is_an_error_before_anything_is_written(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match="gpus_per_trial"):
        run_search(make_config(gpus_per_trial=64.0))
    assert not (tmp_path / "run").exists()


def test_a_depth_that_the_backbone_can_not_be_cut_at_is_an_error(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    space = make_config().space.model_dump()
    space["reinit_depth"] = {"low": 0, "high": 9}
    with pytest.raises(ConfigError, match="reinit_depth must be at most 4"):
        run_search(make_config(space=space))
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_search_is_refused_and_left_alone(
    searched: tuple[TuneResult, list[str]],
) -> None:
    result, _ = searched
    before = sorted(p.name for p in result.out.iterdir())
    with pytest.raises(OutputError, match="seed was 0 and is 1"):
        run_search(result.config.model_copy(update={"seed": 1}))
    assert sorted(p.name for p in result.out.iterdir()) == before
