from __future__ import annotations

import json
import pickle
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from energytune.config import FinetuneConfig, ProbeConfig
from energytune.errors import OutputError, TrialFailure
from energytune.models import rebuild_model
from energytune.training.evaluate import evaluate
from energytune.trial import EpochsDone, Finished, Job, ProbeDone, Probing, Tested
from energytune.trial.builder import RecordBuilder
from energytune.trial.run import make_run_job, run_trial


def told(bench, job):
    """Yields what a trial tells but for the steps of its probing."""
    with closing(run_trial(bench, job)) as events:
        yield from (event for event in events if not isinstance(event, Probing))


def job_that_tests(confirmation: Job) -> Job:
    return replace(confirmation, id="x", role="test", tested=confirmation.id)


def timeless(events) -> list:
    """Events without their seconds, and without what depends on the caches."""
    return [
        replace(event, seconds=0.0, n_epochs_run=0)
        if isinstance(event, ProbeDone)
        else replace(event, seconds=0.0)
        for event in events
        if not isinstance(event, Probing)
    ]


RECIPES = [
    {"tau": 0},
    {"tau": 4, "label_smoothing": 0.15},
    {"tau": 3, "head_arch": "mlp"},
    {"tau": 2, "reinit_depth": 2},
]


# the line from end to end


def test_probing_tells_each_snapshot_before_it_ends(bench, make_job) -> None:
    events = list(run_trial(bench, make_job(6)))
    steps = [event for event in events if isinstance(event, Probing)]
    done = events[len(steps)]
    assert isinstance(done, ProbeDone)
    assert tuple(step.snapshot for step in steps) == done.snapshots
    assert {step.tau for step in steps} == {6}


@pytest.mark.parametrize("recipe", RECIPES)
def test_events_come_in_order_and_are_complete(bench, make_job, recipe) -> None:
    job = make_job(**recipe)
    events = list(told(bench, job))
    assert [type(event) for event in events] == [ProbeDone, EpochsDone, EpochsDone, Finished]
    probed, *epochs, finished = events
    assert probed.snapshots[0].epoch == 0
    assert probed.snapshots[-1].epoch == recipe["tau"]
    assert [epoch.epoch for event in epochs for epoch in event.epochs] == [1, 2]
    best = epochs[finished.best_epoch - 1].epochs[0]
    assert finished.objective == best.valid_acc == max(e.epochs[0].valid_acc for e in epochs)
    assert finished.best_valid_loss == best.valid_loss
    assert set(finished.adaptation) == {
        "feature_distance",
        "feature_cosine",
        "feature_dot",
        "feature_norm",
    }
    assert all(event.seconds >= 0 for event in events)


def test_finetuning_starts_from_the_probed_head(bench, make_job) -> None:
    """Finetuning goes on from the probed head: with its lower loss, not from the random head."""
    random, probed = (next(told(bench, make_job(tau))) for tau in (0, 256))
    assert probed.snapshots[-1].train_acc > 0.4 > 0.2 > random.snapshots[-1].train_acc
    assert probed.snapshots[-1].aie < random.snapshots[-1].aie
    first_epochs = [list(islice(told(bench, make_job(t)), 2))[1].epochs[0] for t in (0, 256)]
    assert first_epochs[1].train_loss < first_epochs[0].train_loss - 0.5


def test_events_travel_between_processes_and_become_a_json_record(bench, make_job) -> None:
    job = make_job(role="confirm")
    builder = RecordBuilder(job)
    for event in told(bench, job):
        assert pickle.loads(pickle.dumps(event)) == event
        builder.add(event)
    record = builder.build("COMPLETE").to_dict()
    assert json.loads(json.dumps(record))["job"]["recipe"]["tau"] == 4


def test_a_spec_travels_and_builds_the_same_bench(make_spec, make_job) -> None:
    spec = make_spec()
    here = list(make_run_job(spec)(make_job()))
    there = list(make_run_job(pickle.loads(pickle.dumps(spec)))(make_job()))
    assert timeless(here) == timeless(there)


# the same records, however they come about


@pytest.mark.parametrize("recipe", RECIPES)
def test_cold_and_warm_caches_give_equal_records(make_spec, make_job, recipe) -> None:
    spec = make_spec()
    job = make_job(**recipe)
    cold = list(told(spec.build(), job))
    warm = list(told(spec.build(), job))
    assert timeless(cold) == timeless(warm)
    assert cold[0].n_epochs_run == recipe["tau"]
    assert warm[0].n_epochs_run == 0


def test_a_trial_goes_on_where_a_shorter_one_ended(bench, make_spec, make_job, tmp_path) -> None:
    list(told(bench, make_job(4)))
    after = list(told(bench, make_job(8)))
    alone = list(told(make_spec(cache=tmp_path / "other").build(), make_job(8)))
    assert after[0].n_epochs_run == 4
    assert alone[0].n_epochs_run == 8
    assert timeless(after) == timeless(alone)


def test_trials_of_one_process_do_not_disturb_each_other(bench, make_job) -> None:
    job = make_job(2, head_arch="mlp")
    first = list(told(bench, job))
    list(told(bench, make_job(3, reinit_depth=1, seed=5)))
    interrupted = told(bench, make_job(3))
    next(interrupted)
    assert timeless(told(bench, job)) == timeless(first)


@pytest.mark.parametrize("label_smoothing", [0.1, 0.3])
def test_tau_0_is_the_same_run_for_every_smoothing(bench, make_job, label_smoothing) -> None:
    plain = list(told(bench, make_job(0)))
    smoothed = list(told(bench, make_job(0, label_smoothing=label_smoothing)))
    assert timeless(plain) == timeless(smoothed)


def test_seed_and_every_dimension_of_the_recipe_count(bench, make_job) -> None:
    jobs = [
        make_job(2),
        make_job(2, seed=1),
        make_job(3),
        make_job(2, head_arch="mlp"),
        make_job(2, label_smoothing=0.3),
        make_job(2, reinit_depth=1),
        make_job(2, ft_lr=0.02),
    ]
    losses = [list(told(bench, job))[-1].best_valid_loss for job in jobs]
    assert len(set(losses)) == len(jobs)


def test_the_shared_backbone_is_never_changed(bench, make_job) -> None:
    from energytune.models import weights_sha256

    list(told(bench, make_job(2, reinit_depth=2)))
    assert weights_sha256(bench.backbone.module) == bench.backbone.weights_sha256


def test_the_role_has_no_influence_on_the_numbers(bench, make_job) -> None:
    searched = list(told(bench, make_job()))
    confirmed = list(told(bench, make_job(role="confirm")))
    confirmed[-1] = replace(confirmed[-1], model_path=None)
    assert timeless(searched) == timeless(confirmed)


# the test split


@pytest.mark.parametrize("role", ["baseline_tau_0", "baseline_tau_max", "search"])
def test_a_search_never_opens_the_test_split(bench, make_job, role, tmp_path) -> None:
    *_, finished = told(bench, make_job(role=role))
    assert bench.splits.test.n_opened == 0
    assert finished.test is None
    assert finished.model_path is None
    assert not (tmp_path / "models").exists()


def test_a_confirmation_keeps_its_model_and_leaves_test_sealed(bench, make_job, tmp_path) -> None:
    *_, finished = told(bench, make_job(role="confirm", head_arch="mlp"))
    assert bench.splits.test.n_opened == 0
    assert finished.test is None
    assert finished.model_path == str(tmp_path / "models" / "t004.safetensors")


def test_a_test_job_reads_test_once_with_the_kept_weights(bench, make_job) -> None:
    confirmation = make_job(role="confirm", head_arch="mlp")
    *_, finished = told(bench, confirmation)
    (tested,) = told(bench, job_that_tests(confirmation))
    assert isinstance(tested, Tested)
    assert bench.splits.test.reasons == ("evaluation of the confirmed model t004",)
    assert tested.test.accuracy == sum(tested.test.correct) / 597
    assert len(tested.test.correct) == 597

    model = rebuild_model(bench.model(confirmation.recipe, 0).spec())
    model.load_state_dict(load_file(finished.model_path))
    model.eval()
    split = bench.splits.test.open("this test")
    outcome = evaluate(model, split.batches(256), bench.splits.task)
    assert tuple(outcome.correct.tolist()) == tested.test.correct
    assert outcome.loss == pytest.approx(tested.test.loss)


def test_weights_that_were_deleted_are_trained_again(bench, make_job) -> None:
    confirmation = make_job(role="confirm")
    *trained, finished = told(bench, confirmation)
    (before,) = told(bench, job_that_tests(confirmation))
    Path(finished.model_path).unlink()
    *again, tested = told(bench, job_that_tests(confirmation))
    assert timeless(again) == timeless([*trained, finished])
    assert tested.test == before.test
    assert Path(finished.model_path).exists()


def test_a_job_that_tests_its_own_trains_and_tests(bench, make_job, tmp_path) -> None:
    *_, finished, tested = told(bench, make_job(role="test"))
    assert finished.model_path == str(tmp_path / "models" / "t004.safetensors")
    assert 0.0 < tested.test.accuracy < 1.0


def test_the_model_kept_is_the_best_epochs_not_the_last(make_spec, make_job) -> None:
    # a constant high rate: validation accuracy falls from 0.31 in epoch 5 to 0.20 in epoch 6
    finetune = FinetuneConfig(epochs=6, schedule="constant", patience=None)
    bench = make_spec(finetune=finetune).build()
    events = list(told(bench, make_job(0, role="confirm", ft_lr=0.05)))
    finished = events[-1]
    assert finished.best_epoch < 6
    model = bench.model(make_job(0).recipe, 0)
    model.load_state_dict(load_file(finished.model_path))
    model.eval()
    outcome = evaluate(model, bench.splits.valid.batches(256), bench.splits.task)
    assert outcome.accuracy == finished.objective
    assert events[6].epochs[0].valid_acc < finished.objective


def test_a_finetune_that_stops_by_itself_is_told(make_spec, make_job) -> None:
    # a constant high rate: some epoch is worse than the one before it
    whole = FinetuneConfig(epochs=8, schedule="constant", patience=None)
    job = make_job(0, ft_lr=0.05)
    *expected, end = told(make_spec(finetune=whole).build(), job)
    early = whole.model_copy(update={"patience": 1 / 8})
    *events, finished = told(make_spec(finetune=early).build(), job)
    n_run = len(events) - 1
    assert 1 < n_run < 8
    assert timeless(events) == timeless(expected[: n_run + 1])
    assert finished.stop_reason == (
        f"stopped: no better validation since epoch {n_run - 1}, patience 1 epoch"
    )
    assert finished.best_epoch == n_run - 1
    assert end.stop_reason == ""


def test_adaptation_is_that_of_the_kept_model(bench, make_job) -> None:
    finished = list(told(bench, make_job(role="confirm")))[-1]
    model = bench.model(make_job().recipe, 0)
    model.load_state_dict(load_file(finished.model_path))
    with torch.no_grad():
        after = model.features(bench.splits.train.images).double()
        before = bench.backbone.module(bench.splits.train.images).double()
    assert finished.adaptation["feature_distance"] == pytest.approx(
        float((after - before).norm(dim=1).mean()), rel=1e-3
    )
    assert finished.adaptation["feature_norm"] == pytest.approx(
        float(after.norm(dim=1).mean()), rel=1e-5
    )


# failure and pruning


def test_closing_the_generator_prunes_the_trial(bench, make_job) -> None:
    events = told(bench, make_job(role="confirm"))
    assert isinstance(next(events), ProbeDone)
    assert isinstance(next(events), EpochsDone)
    events.close()
    assert list(events) == []
    assert bench.splits.test.n_opened == 0


def test_probing_that_diverges_fails_before_finetuning(make_spec, make_job) -> None:
    bench = make_spec(probe=ProbeConfig(lr=1e38)).build()
    with pytest.raises(TrialFailure, match="Head probing diverged"):
        next(told(bench, make_job(2)))


def test_finetuning_that_diverges_fails(bench, make_job) -> None:
    events = told(bench, make_job(2, ft_lr=1e6))
    assert isinstance(next(events), ProbeDone)
    with pytest.raises(TrialFailure, match="Finetuning diverged"):
        list(events)


def test_a_model_folder_that_cannot_be_written(make_spec, make_job, tmp_path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(OutputError, match=r"can't be written.*--out"):
        list(told(make_spec().build(), make_job(0, role="confirm")))
