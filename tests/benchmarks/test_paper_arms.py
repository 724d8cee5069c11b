from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.paper.arms import Arm, run_arm
from benchmarks.paper.compute import run_arms
from benchmarks.paper.fig3_swap import final_states, swapped_scores
from benchmarks.paper.fig6_kernel import KernelWatch, kernel_of
from benchmarks.paper.settings import Settings, bench_of, random_bench, some_of, spread_taus
from benchmarks.paper.start import PullWatch, measure_start, true_probability
from energytune.config import FinetuneConfig, SearchSpace
from energytune.science.energy_levels import reserved_energy
from energytune.tasks import Multiclass, MultiLabel, PerPixel
from energytune.training.evaluate import evaluate
from energytune.trial import Finished, Job, ProbeDone
from energytune.trial.bench import Bench
from energytune.trial.run import run_trial

RATE = 0.01


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("cache")
    space = SearchSpace(
        tau={"low": 0, "high": 8},  # type: ignore[arg-type]
        ft_lr={"low": RATE, "high": RATE},  # type: ignore[arg-type]
        finetune=FinetuneConfig(epochs=3, patience=None),
    )
    return Settings(
        dataset="digits-rotated",
        backbone="digits-mlp",
        space=space,
        n_seeds=2,
        n_taus=3,
        cache=cache,
        out=cache / "out",
    )


@pytest.fixture(scope="module")
def bench(settings: Settings) -> Bench:
    return bench_of(settings, 0)


@pytest.mark.parametrize(
    "arm",
    [
        Arm(0, RATE),
        Arm(6, RATE, label_smoothing=0.1),
        Arm(3, RATE, head_arch="mlp"),
        Arm(2, RATE, reinit_depth=1),
    ],
)
def test_an_arm_is_the_packages_own_trial(bench: Bench, arm: Arm) -> None:
    result = run_arm(bench, arm, seed=3)
    events = list(run_trial(bench, Job("t0", 0, arm.recipe(), seed=3)))
    (probed,) = [event for event in events if isinstance(event, ProbeDone)]
    (finished,) = [event for event in events if isinstance(event, Finished)]
    epochs = [epoch for event in events for epoch in getattr(event, "epochs", ())]
    snapshot = probed.snapshots[-1]
    assert (result.hp_train_acc, result.aie) == (snapshot.train_acc, snapshot.aie)
    assert (result.head_norm, result.pull_norm) == (snapshot.head_norm, snapshot.pull_norm)
    expected = tuple((e.train_loss, e.train_acc, e.valid_loss, e.valid_acc) for e in epochs)
    assert result.curve == expected
    assert (result.ft_valid_acc, result.best_epoch) == (finished.objective, finished.best_epoch)
    at_best = {name: getattr(result, f"best_{name}") for name in finished.adaptation}
    assert at_best == finished.adaptation


def test_watching_changes_nothing(bench: Bench) -> None:
    arm, seen = Arm(2, RATE), []
    plain = run_arm(bench, arm, seed=0)
    watched = run_arm(bench, arm, seed=0, watch=lambda epoch, _: seen.append(epoch))
    assert seen == [0, 1, 2, 3]
    assert replace(watched, seconds=0.0) == replace(plain, seconds=0.0)


def test_the_pull_at_the_start_is_the_snapshots(bench: Bench) -> None:
    watch = PullWatch(bench, {0}, 0.0)
    result = run_arm(bench, Arm(4, RATE), seed=1, watch=watch)
    (row,) = watch.rows
    assert row["pull_norm"] == pytest.approx(result.pull_norm, rel=1e-3)
    assert row["energy"] == pytest.approx(result.aie, rel=1e-3)
    assert row["pull_per_energy"] == pytest.approx(row["pull_norm"] / row["energy"])


def test_p0_is_the_probability_of_the_true_class(bench: Bench) -> None:
    arm = Arm(3, RATE)
    model = bench.model(arm.recipe(), seed=0)
    start = measure_start(bench, model, 0.0, 0.0)
    features, targets = [], bench.splits.train.targets.numpy()
    for inputs, _ in bench.splits.train.batches(64):
        features.append(model.features(inputs).detach().double().numpy())
    head = model.head
    assert isinstance(head, nn.Linear)
    logits = np.concatenate(features) @ head.weight.detach().double().numpy().T
    logits = logits + head.bias.detach().double().numpy()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = odds / odds.sum(axis=1, keepdims=True)
    reference = probs[np.arange(len(targets)), targets]
    np.testing.assert_allclose(start.p0_samples, reference, atol=1e-3)  # features are kept in fp16
    energy = np.linalg.norm(np.eye(3)[targets] - probs, axis=1).mean()
    assert start.aie == pytest.approx(energy, abs=1e-3)


def test_predicted_energy_is_that_of_the_gap_between_both_targets(bench: Bench) -> None:
    model = bench.model(Arm(0, RATE).recipe(), seed=0)
    for hp, ft, eps in ((0.1, 0.0, 0.1), (0.0, 0.1, 0.1), (0.1, 0.1, 0.0), (0.3, 0.1, 0.2)):
        start = measure_start(bench, model, hp, ft)
        assert start.aie_predicted == pytest.approx(reserved_energy(eps, 3), abs=1e-6)


def test_true_probability_of_labels_and_pixels() -> None:
    labels = torch.tensor([[1.0, 0.0], [math.nan, 1.0], [math.nan, math.nan]])
    logits = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 0.0]])
    assert true_probability(MultiLabel(2), logits, labels).tolist() == [0.5, 0.5]
    classes = torch.tensor([[[0, 1]], [[255, 1]], [[255, 255]]])
    maps = torch.zeros(3, 2, 1, 2)
    maps[0, 0] = 100.0  # sure of class 0 at both pixels, right at one
    assert true_probability(PerPixel(2), maps, classes).tolist() == [0.5, 0.5]
    one = true_probability(Multiclass(4), torch.zeros(2, 4), torch.tensor([0, 3]))
    assert one.tolist() == [0.25, 0.25]


def test_a_swap_with_itself_is_the_models_own_score(settings: Settings, bench: Bench) -> None:
    model, states = bench.model(Arm(0, RATE).recipe(), seed=0), final_states(settings, bench, 0)
    rows = swapped_scores(bench, model, states)
    assert len(rows) == len(states) ** 2
    for tau in states:
        model.load_state_dict(states[tau])
        model.eval()
        valid = evaluate(model, bench.splits.valid.batches(64), bench.splits.task).accuracy
        (own,) = [r["valid"] for r in rows if r["backbone_tau"] == r["head_tau"] == tau]
        assert own == pytest.approx(valid)
        result = run_arm(bench, Arm(tau, RATE), seed=0)
        assert own == pytest.approx(result.ft_valid_last)


def test_the_kernel_is_watched_at_pairs_of_epochs(settings: Settings) -> None:
    bench = random_bench(settings, 0)
    watch = KernelWatch(bench, 2, seed=0)
    run_arm(bench, Arm(0, RATE), seed=0, watch=watch)
    assert [row["epoch"] for row in watch.rows] == [1, 3]
    assert watch.rows[0]["step"] == pytest.approx(watch.rows[0]["from_start"])
    assert all(row["step"] > 0 for row in watch.rows)


def test_a_kernel_of_maps_and_tables_is_that_of_pooled_features() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.conv = nn.Embedding(3, 2), nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.conv(x)
            return maps

    kernel = kernel_of(Net().eval(), torch.ones(2, 1, 2, 2))
    # z = w + b a channel, so each channel's own derivative is (1, 1) everywhere
    assert torch.equal(kernel, 2 * torch.eye(2).expand(2, 2, 2, 2))


def test_what_was_computed_is_kept(settings: Settings) -> None:
    arms = [Arm(0, RATE), Arm(2, RATE)]
    first = run_arms(settings, arms)
    assert [(r.seed, r.arm.tau) for r in first] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    files = sorted(Path(settings.cache / "paper").glob("*.json"))
    assert run_arms(settings, arms) == first  # seconds too: nothing was run again
    assert sorted(Path(settings.cache / "paper").glob("*.json")) == files


def test_a_diverged_arm_is_told(bench: Bench) -> None:
    result = run_arm(bench, Arm(0, ft_lr=1e6), seed=0)
    assert "diverged" in result.failure
    assert math.isnan(result.test_acc)
    assert result.aie == run_arm(bench, Arm(0, RATE), seed=0).aie  # known before it diverged


def test_taus_are_spread_evenly_on_a_log_scale() -> None:
    assert spread_taus(4096, 8) == (0, 1, 4, 16, 64, 256, 1024, 4096)
    assert spread_taus(200, 5)[0] == 0
    assert spread_taus(200, 5)[-1] == 200
    assert some_of(range(13), 7) == (0, 2, 4, 6, 8, 10, 12)
    assert some_of((0, 1, 5), 7) == (0, 1, 5)
