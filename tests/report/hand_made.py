"""Records made by hand: no training, numbers chosen so that results can be told by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from energytune.config import Recipe, snapshot_epochs
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, Role, State, TestResult, TrialRecord

ADAPTATION = {
    "feature_distance": 1.5,
    "feature_cosine": 0.9,
    "feature_dot": 12.0,
    "feature_norm": 3.0,
}


def snapshot(epoch: int) -> ProbeSnapshot:
    """A probe whose accuracy rises and whose energy falls with the epoch."""
    left = 1.0 / (1.0 + epoch)
    return ProbeSnapshot(
        epoch, 1 - 0.9 * left, 2 * left, 0.8 - 0.7 * left, left + 0.5, left, 2.0, 0.5
    )


def job(
    number: int, tau: int = 8, *, role: Role = "search", seed: int = 0, **recipe: object
) -> Job:
    dimensions = {"head_arch": "linear", "ft_lr": 0.01} | recipe
    name = f"c{number}-s{seed}" if role == "confirm" else f"t{number:03d}"
    return Job(name, number, Recipe(tau=tau, **dimensions), seed, role)


def trial(
    number: int,
    accuracies: Sequence[float] = (0.5, 0.8, 0.7),
    *,
    tau: int = 8,
    state: State = "COMPLETE",
    role: Role = "search",
    reason: str = "",
    duplicate_of: int | None = None,
    **recipe: object,
) -> TrialRecord:
    """A trial with these validation accuracies, one an epoch."""
    epochs = tuple(
        FinetuneEpoch(i, 1.0 / i, 0.5 + 0.1 * i, 0.9, a) for i, a in enumerate(accuracies, start=1)
    )
    finished = None
    if state == "COMPLETE":
        best = max(epochs, key=lambda e: e.valid_acc)
        finished = Finished(best.valid_acc, best.epoch, best.valid_loss, dict(ADAPTATION))
    return TrialRecord(
        job=job(number, tau, role=role, **recipe),
        state=state,
        reason=reason,
        snapshots=tuple(snapshot(e) for e in snapshot_epochs(tau)) if epochs else (),
        epochs=epochs,
        finished=finished,
        seconds_hp=0.25,
        seconds_ft=1.5,
        n_hp_epochs_run=tau // 2,
        duplicate_of=duplicate_of,
    )


def stopped(number: int, n_epochs: int = 63) -> TrialRecord:
    """A complete trial that stopped by itself after so many epochs, the first its best."""
    record = trial(number, (0.7,) + (0.5,) * (n_epochs - 1))
    reason = f"stopped: no better validation since epoch 1, patience {n_epochs - 1} epochs"
    return replace(record, finished=replace(record.finished, stop_reason=reason))


def confirmation(number: int, seed: int, n_correct: int, n: int = 100) -> TrialRecord:
    """A confirmation run with so many correct test images; none for ``n_correct < 0``."""
    if n_correct < 0:
        return TrialRecord(job(number, role="confirm", seed=seed), "FAIL", "NaN loss")
    test = TestResult(n_correct / n, 0.4, (True,) * n_correct + (False,) * (n - n_correct))
    finished = Finished(0.8, 2, 0.9, dict(ADAPTATION), test, "/somewhere/model.safetensors")
    epochs = (FinetuneEpoch(1, 1.0, 0.9, 0.9, 0.8),)
    return TrialRecord(
        job(number, role="confirm", seed=seed), "COMPLETE", epochs=epochs, finished=finished
    )


def of_test(record: TrialRecord) -> TrialRecord:
    """The record of the job that has read test for a confirmation."""
    job = replace(record.job, id=f"{record.job.id}-test", role="test", tested=record.job.id)
    return replace(record, job=job, epochs=())


def small_search() -> list[TrialRecord]:
    """Both baselines, a winner (t002), a pruned, a failed and a repeated trial."""
    return [
        trial(0, (0.5, 0.80), tau=0, role="baseline_tau_0"),
        trial(1, (0.6, 0.82), tau=64, role="baseline_tau_max"),
        trial(2, (0.6, 0.90, 0.88), tau=8, head_arch="mlp", label_smoothing=0.1, ft_lr=0.1 + 0.2),
        trial(3, (0.3,), tau=16, state="PRUNED", reason="energy [spent]: same start as t001"),
        trial(4, (), tau=3, state="FAIL", reason="TrialFailure: loss is nan", reinit_depth=1),
        trial(5, (0.6, 0.82), tau=64, duplicate_of=1),
    ]


def small_confirmation() -> list[TrialRecord]:
    """Three seeds: winner t002 at 88, 90, 92 %, tau=0 at 84, 85, 86 %, tau=max one failed."""
    return [
        *(confirmation(2, seed, n) for seed, n in ((1, 88), (2, 90), (3, 92))),
        *(confirmation(0, seed, n) for seed, n in ((1, 84), (2, 85), (3, 86))),
        *(confirmation(1, seed, n) for seed, n in ((1, 89), (2, -1), (3, 91))),
    ]
