"""The one engine of all experiments: an arm is probed, finetuned and measured.

It is the package's own trial (:func:`energytune.trial.run.run_trial`) taken apart, so that
finetuning can smooth its targets as well and each epoch can be watched; a test holds that both
give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import torch

from benchmarks.paper.start import measure_start
from energytune.config import Recipe
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.science.adaptation import Adaptation, streamed_adaptation
from energytune.training.evaluate import evaluate
from energytune.training.features_extract import stream_features
from energytune.training.finetune import Finetuner
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.training.records import FinetuneEpoch, ProbeSnapshot
from energytune.trial.bench import Bench

__all__ = ["Arm", "ArmResult", "Watch", "run_arm"]

Watch = Callable[[int, TaskModel], object]
"""Told the finished finetuning epochs, 0 before the first, and the model; it changes no weight."""


@dataclass(frozen=True)
class Arm:
    """How a head is prepared and finetuned.

    Attributes:
        tau: Head-probing epochs.
        ft_lr: Peak finetuning rate.
        head_arch: ``"linear"``, ``"mlp"`` or ``"aspp"``.
        label_smoothing: eps of the targets in head probing.
        ft_label_smoothing: eps of the targets in finetuning.
        reinit_depth: Last blocks that are reinitialised and probed with the head.
    """

    tau: int
    ft_lr: float
    head_arch: str = "linear"
    label_smoothing: float = 0.0
    ft_label_smoothing: float = 0.0
    reinit_depth: int = 0

    def recipe(self) -> Recipe:
        """Returns the recipe; smoothing in finetuning is no part of it."""
        return Recipe(
            tau=self.tau,
            head_arch=self.head_arch,  # type: ignore[arg-type]
            label_smoothing=self.label_smoothing,
            reinit_depth=self.reinit_depth,
            ft_lr=self.ft_lr,
        ).canonical()


@dataclass(frozen=True)
class ArmResult:
    """What one arm came to with one seed. Scores are the task's own metric, in [0, 1].

    Attributes:
        arm: What was run.
        seed: Of head, batch order and, where each seed has its own, backbone.
        hp_train_acc: Training score at the end of probing.
        hp_valid_acc: Validation score there.
        aie: Average initial energy against the labels.
        aie_ft: The same against finetuning's targets, which may be smoothed.
        aie_predicted: ``aie_ft`` of a head that has converged to the targets of probing.
        p0_true: Mean probability of the true answers at the start of finetuning.
        head_norm: Of all head parameters.
        pull_norm: Mean over samples of ||dL/dz|| at the start of finetuning, against the labels.
        ft_train_acc: Training score over the last epoch's batches.
        best_epoch: Finetuning epoch with the best validation score.
        ft_valid_acc: Validation score of that epoch: the paper's FT-val-acc.
        ft_valid_last: Validation score of the last epoch.
        test_acc: Test score of the best epoch's weights; nothing is chosen by it.
        feature_distance: ||z_T - z_0|| after the LAST epoch, mean over the training samples.
        feature_cosine: cos(z_T, z_0) there.
        feature_dot: z_T . z_0 there.
        feature_norm: ||z_T|| there.
        best_feature_distance: The same four after the best epoch, as a search records them.
        best_feature_cosine: See there.
        best_feature_dot: See there.
        best_feature_norm: See there.
        seconds: Probing that was not stored, finetuning and measuring.
        failure: Why it diverged; what was to be measured afterwards is then NaN.
        p0_samples: Probability of the true answer of each labelled training sample.
        curve: One entry an epoch: train_loss, train_acc, valid_loss, valid_acc.
    """

    arm: Arm
    seed: int
    hp_train_acc: float = math.nan
    hp_valid_acc: float = math.nan
    aie: float = math.nan
    aie_ft: float = math.nan
    aie_predicted: float = math.nan
    p0_true: float = math.nan
    head_norm: float = math.nan
    pull_norm: float = math.nan
    ft_train_acc: float = math.nan
    best_epoch: int = 0
    ft_valid_acc: float = math.nan
    ft_valid_last: float = math.nan
    test_acc: float = math.nan
    feature_distance: float = math.nan
    feature_cosine: float = math.nan
    feature_dot: float = math.nan
    feature_norm: float = math.nan
    best_feature_distance: float = math.nan
    best_feature_cosine: float = math.nan
    best_feature_dot: float = math.nan
    best_feature_norm: float = math.nan
    seconds: float = 0.0
    failure: str = ""
    p0_samples: tuple[float, ...] = ()
    curve: tuple[tuple[float, float, float, float], ...] = field(default=(), repr=False)

    def row(self) -> dict[str, Any]:
        """Returns what goes into a CSV: everything that is one number or one word."""
        values = asdict(self)
        del values["p0_samples"], values["curve"]
        arm = values.pop("arm")
        return {"seed": values.pop("seed"), **arm, **values}


def run_arm(
    bench: Bench, arm: Arm, seed: int, *, watch: Watch | None = None, keep_samples: bool = False
) -> ArmResult:
    """Runs one arm from the random head to the test score.

    Probing goes on from the nearest snapshot that the bench's store holds, so the taus of one
    head share their trajectory.

    Args:
        bench: Data, backbone and caches; its finetuning should have no patience, so that the
            features of all arms are compared after the same number of epochs.
        arm: What to run.
        seed: Of initialisation and batch order.
        watch: Looks at the model before the first and after each finetuning epoch.
        keep_samples: Whether the probability of each sample is kept.
    """
    started = perf_counter()
    result = ArmResult(arm=arm, seed=seed)
    try:
        model, snapshot = _probed(bench, arm, seed)
        result = _after_probing(bench, model, result, snapshot, keep_samples=keep_samples)
        tuner = _tuner(bench, model, arm, seed)
        curve = _finetune(tuner, model, watch)
        result = _after_finetuning(bench, tuner, result, curve)
    except TrialFailure as failure:
        result = replace(result, failure=str(failure))
    return replace(result, seconds=perf_counter() - started)


def _after_probing(
    bench: Bench,
    model: TaskModel,
    result: ArmResult,
    snapshot: ProbeSnapshot,
    *,
    keep_samples: bool,
) -> ArmResult:
    arm = result.arm
    start = measure_start(bench, model, arm.label_smoothing, arm.ft_label_smoothing)
    return replace(
        result,
        hp_train_acc=snapshot.train_acc,
        hp_valid_acc=snapshot.valid_acc,
        aie=snapshot.aie,
        aie_ft=start.aie,
        aie_predicted=start.aie_predicted,
        p0_true=math.fsum(start.p0_samples) / len(start.p0_samples),
        head_norm=snapshot.head_norm,
        pull_norm=snapshot.pull_norm,
        p0_samples=start.p0_samples if keep_samples else (),
    )


def _after_finetuning(
    bench: Bench, tuner: Finetuner, result: ArmResult, curve: list[FinetuneEpoch]
) -> ArmResult:
    best, depth = tuner.best, result.arm.reinit_depth
    if best is None:
        raise TrialFailure("No finetuning epoch was run; finetune.epochs must be at least 1.")
    last = _adaptation(bench, tuner.model, depth)
    tuner.load_best()
    at_best = _adaptation(bench, tuner.model, depth).to_dict()
    return replace(
        result,
        ft_train_acc=curve[-1].train_acc,
        best_epoch=best.epoch,
        ft_valid_acc=best.valid_acc,
        ft_valid_last=curve[-1].valid_acc,
        test_acc=_test_score(bench, tuner.model),
        **last.to_dict(),
        **{f"best_{name}": value for name, value in at_best.items()},
        curve=tuple((e.train_loss, e.train_acc, e.valid_loss, e.valid_acc) for e in curve),
    )


def _probed(bench: Bench, arm: Arm, seed: int) -> tuple[TaskModel, ProbeSnapshot]:
    recipe = arm.recipe()
    model = bench.model(recipe, seed)
    trajectory = bench.trajectory(recipe, seed)
    run = HeadRun(model, bench.spec.probe, recipe.label_smoothing, trajectory)
    data = bench.probe_data(recipe.reinit_depth)
    *_, snapshot = probe(
        run, data, bench.splits.task, seed=seed, tau=recipe.tau, store=bench.snapshots
    )
    return model, snapshot


def _tuner(bench: Bench, model: TaskModel, arm: Arm, seed: int) -> Finetuner:
    return Finetuner(
        model,
        bench.splits.train,
        bench.splits.valid,
        bench.splits.task,
        bench.spec.finetune,
        ft_lr=arm.recipe().ft_lr,
        seed=seed,
        device=bench.device,
        label_smoothing=arm.ft_label_smoothing,
    )


def _finetune(tuner: Finetuner, model: TaskModel, watch: Watch | None) -> list[FinetuneEpoch]:
    if watch is not None:
        watch(0, model.eval())
    curve = []
    for epoch in tuner:
        curve.append(epoch)
        if watch is not None:
            watch(epoch.epoch, model.eval())
    return curve


def _adaptation(bench: Bench, model: TaskModel, depth: int) -> Adaptation:
    before = bench.probe_data(depth).train.batches(bench.eval_batch)
    after = stream_features(
        model, bench.splits.train, batch_size=bench.eval_batch, device=bench.device
    )
    return streamed_adaptation(
        (model.feature_values(z_0), model.feature_values(z_t))
        for z_0, z_t in zip(before, after, strict=True)
    )


@torch.no_grad()
def _test_score(bench: Bench, model: TaskModel) -> float:
    split = bench.splits.test.open("a table of the paper; nothing is chosen by it")
    model.eval()
    batches = split.batches(bench.eval_batch)
    return evaluate(model, batches, bench.splits.task, bench.device).accuracy
