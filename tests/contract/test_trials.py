"""A trial of each task: the cut, the whole trial, and a stop anywhere."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from energytune.config import FinetuneConfig, Recipe
from energytune.tasks.evidence import evidence_of_correct
from energytune.training.features_extract import stream_features
from energytune.trial.evidence_file import read_evidence
from energytune.trial.records import EpochsDone, Finished, ProbeDone, Tested
from energytune.trial.run import run_trial


def told(events):
    """Returns what events say, without the time it took."""
    return [replace(event, seconds=0.0) for event in events if isinstance(event, EpochsDone)]


@pytest.mark.parametrize("depth", [0, 1])
def test_resuming_at_the_cut_gives_the_whole_networks_logits(bench, head_arch, depth):
    model = bench.model(Recipe(tau=0, head_arch=head_arch, reinit_depth=depth, ft_lr=1.0), seed=0)
    model.eval()
    inputs, _ = next(iter(bench.splits.valid.batches(8)))
    with torch.no_grad():
        whole, parts = model(inputs), model.from_features(model.features(inputs))
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depth", [0, 1])
def test_cached_features_are_those_of_the_frozen_part(bench, head_arch, depth):
    model = bench.model(Recipe(tau=0, head_arch=head_arch, reinit_depth=depth, ft_lr=1.0), seed=0)
    cached = next(iter(bench.probe_data(depth).valid.batches(8)))
    fresh = next(
        iter(stream_features(model, bench.splits.valid, batch_size=8, device=bench.device))
    )
    torch.testing.assert_close(cached, fresh, rtol=2e-3, atol=2e-3)


def test_a_trial_runs_to_its_end_and_is_the_same_again(bench, head_arch, make_job):
    job = make_job(3, head_arch=head_arch, label_smoothing=0.1, reinit_depth=1)
    first, again = list(run_trial(bench, job)), list(run_trial(bench, job))
    (probed,) = [e for e in first if isinstance(e, ProbeDone)]
    assert [s.epoch for s in probed.snapshots] == [0, 1, 2, 3]
    finished = first[-1]
    assert isinstance(finished, Finished)
    assert 0.0 <= finished.objective <= 1.0
    assert set(finished.adaptation) == {
        "feature_distance", "feature_cosine", "feature_dot", "feature_norm",
    }  # fmt: skip
    assert told(again) == told(first)
    assert replace(again[-1], seconds=0.0) == replace(finished, seconds=0.0)


def test_a_trial_that_was_paused_tells_the_rest_as_if_it_had_not_been(make_bench, make_job):
    finetune = FinetuneConfig(epochs=4, batch_size=16, patience=None)
    bench = make_bench(finetune=finetune, pause_epochs=frozenset({2}))
    job = make_job(2)
    whole = list(run_trial(make_bench(finetune=finetune), job))
    seen = []
    with closing(run_trial(bench, job)) as events:
        for event in events:
            seen.append(event)
            if isinstance(event, EpochsDone) and event.epochs[0].epoch == 2:
                break
    rest = list(run_trial(bench, replace(job, resume_epoch=2)))
    assert told(seen) + told(rest) == told(whole)
    assert replace(rest[-1], seconds=0.0) == replace(whole[-1], seconds=0.0)


def test_probing_goes_on_from_a_stored_snapshot(bench, make_job):
    list(run_trial(bench, make_job(2, seed=5)))
    events = run_trial(bench, make_job(4, seed=5))
    shorter = next(event for event in events if isinstance(event, ProbeDone))
    assert shorter.n_epochs_run == 2  # 3 and 4
    fresh = bench.trajectory(make_job(4, seed=5).recipe, 5)
    assert bench.snapshots.load_record(fresh, 4) == shorter.snapshots[-1]


def test_only_a_test_job_reads_the_test_split(bench, make_job):
    list(run_trial(bench, make_job(1, role="confirm")))
    assert bench.splits.test.n_opened == 0
    job = replace(make_job(1, role="test"), tested="t001")
    *_, end = run_trial(bench, job)
    assert isinstance(end, Tested)
    assert bench.splits.test.n_opened == 1
    n_told = 0 if bench.splits.task.metric == "miou" else len(bench.splits.test)
    assert len(end.test.correct) == n_told


def test_a_test_leaves_the_evidence_of_its_score(bench, make_job, tmp_path):
    *_, end = run_trial(bench, make_job(1, role="test"))
    path = end.test.evidence_path
    if bench.splits.task.metric == "accuracy":
        assert path is None
        evidence = evidence_of_correct(end.test.correct)
    else:
        assert Path(path) == tmp_path / "models" / "t001.test.safetensors"
        evidence = read_evidence(Path(path))
    assert evidence.metric == bench.splits.task.metric
    assert evidence.n_examples == len(bench.splits.test)
    assert evidence.score() == end.test.accuracy
