"""What is stored with a trial of the study, and the records that are read back from it.

User attributes, few and big since each is one write to the storage:

- ``recipe`` (dict), ``role``, ``seed``: at the start.
- ``hp`` (the last probing snapshot, a dict), ``snapshots`` (a list of dicts): after probing.
- ``curve`` (finetuning epochs, a list a number: less memory than a dict an epoch), ``finished``
  (dict), ``times`` (dict), ``reason`` (why pruned, failed or not run): at the end. A trial that
  stopped by itself is complete and has its ``stop_reason`` in ``finished``.
- ``paused`` (a finetuning epoch): at each pause, after ``curve`` and ``times`` so far. A trial that
  is RUNNING and has it waits there, or goes on from there and may be lost.
- ``duplicate_of``: number of the trial this one repeats; ``retry_of``: number of the
  interrupted trial that this one runs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from energytune.config import Recipe
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, ProbeDone, TestResult, TrialRecord
from energytune.trial.builder import INTERRUPTED

__all__ = [
    "counts",
    "curve_of",
    "first_runs",
    "frozen",
    "is_interrupted",
    "job_of",
    "record_of",
    "records_from_study",
    "report_ends",
    "report_once",
    "write_duplicate",
    "write_end",
    "write_pause",
    "write_probe",
    "write_start",
]


_TIMES = (
    *("seconds_hp", "seconds_ft", "n_hp_epochs_run"),
    *("started_ms", "ended_ms", "waited_ms"),
)


def frozen(trial: Trial) -> FrozenTrial:
    """Returns a trial as its storage has it now, without reading the study's others."""
    return trial.study._storage.get_trial(trial._trial_id)  # as Optuna's own trials do


def is_interrupted(trial: FrozenTrial) -> bool:
    """Returns whether ``trial`` failed because the search was stopped."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get("reason") == INTERRUPTED


def counts(trial: FrozenTrial) -> bool:
    """Returns whether ``trial`` is one of the ``n_trials``: begun, no repeat, not interrupted."""
    return (
        trial.state != TrialState.WAITING
        and "recipe" in trial.user_attrs
        and "duplicate_of" not in trial.user_attrs
        and not is_interrupted(trial)
    )


def first_runs(study: Study) -> dict[str, int]:
    """Returns which recipes have been begun: key of the recipe -> number of its trial."""
    runs: dict[str, int] = {}
    for trial in study.get_trials(deepcopy=False):
        if counts(trial):
            runs.setdefault(Recipe(**trial.user_attrs["recipe"]).key(), trial.number)
    return runs


def write_start(trial: Trial, job: Job) -> None:
    """Stores what is run; attributes that came with an enqueued trial are left alone."""
    known = trial.user_attrs
    for name, value in (
        ("recipe", job.recipe.to_dict()),
        ("role", job.role),
        ("seed", job.seed),
    ):
        if name not in known:
            trial.set_user_attr(name, value)


def write_duplicate(trial: Trial, job: Job, original: int, reason: str) -> None:
    """Stores that ``trial`` is not run because trial ``original`` is the same run."""
    # First of all, so that at no moment it looks like a trial that was begun.
    trial.set_user_attr("duplicate_of", original)
    write_start(trial, job)
    trial.set_user_attr("reason", reason)


def write_probe(trial: Trial, event: ProbeDone) -> None:
    """Stores what probing has seen; the pruner reads it."""
    snapshots = [
        {name: value for name, value in vars(snapshot).items() if value is not None}
        for snapshot in event.snapshots
    ]
    trial.set_user_attr("snapshots", snapshots)
    trial.set_user_attr("hp", snapshots[-1] if snapshots else {})


def write_pause(trial: Trial, record: TrialRecord) -> None:
    """Stores what a trial has told so far, and that it waits after the last epoch of it."""
    _write_progress(trial, record)
    # Last: whoever finds it may rely on the curve up to there.
    trial.set_user_attr("paused", record.epochs[-1].epoch)


def write_end(trial: Trial, record: TrialRecord) -> None:
    """Stores the rest of the record, just before the trial is told."""
    if record.reason:
        trial.set_user_attr("reason", record.reason)
    _write_progress(trial, record)
    if record.finished:  # last: whoever finds it may take the trial for complete
        trial.set_user_attr("finished", asdict(record.finished))


def _write_progress(trial: Trial, record: TrialRecord) -> None:
    if record.epochs:
        names = [field.name for field in fields(FinetuneEpoch)]
        curve = {name: [getattr(epoch, name) for epoch in record.epochs] for name in names}
        trial.set_user_attr("curve", curve)
    times = {name: getattr(record, name) for name in _TIMES}
    trial.set_user_attr("times", times)


def report_ends(trial: Trial, epochs: Sequence[FinetuneEpoch], finished: Finished) -> None:
    """Reports the best and the last epoch where a rung did not, for who looks at the study."""
    ends = {finished.best_epoch, epochs[-1].epoch} if epochs else set()
    for epoch in epochs:
        if epoch.epoch in ends:
            report_once(trial, epoch)


def report_once(trial: Trial, epoch: FinetuneEpoch) -> None:
    """Reports the validation accuracy of an epoch, unless the study has it.

    A trial that was lost after a pause tells some epochs again.
    """
    if epoch.epoch not in frozen(trial).intermediate_values:
        trial.report(epoch.valid_acc, epoch.epoch)


def job_of(number: int, attrs: dict[str, Any]) -> Job:
    """Returns the job of trial ``number`` from its user attributes."""
    return Job(
        id=f"t{number:03d}",
        number=number,
        recipe=Recipe(**attrs["recipe"]),
        seed=attrs.get("seed", 0),
        role=attrs.get("role", "search"),
    )


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """Returns the record of an ended trial; None if it has not ended or never began."""
    attrs = trial.user_attrs
    if not trial.state.is_finished() or "recipe" not in attrs:
        return None
    return TrialRecord(
        job=job_of(trial.number, attrs),
        state=trial.state.name,  # type: ignore[arg-type]
        # A trial that was lost when it was to be told PRUNED may have finished after all.
        reason="" if "finished" in attrs else attrs.get("reason", ""),
        snapshots=tuple(ProbeSnapshot(**s) for s in attrs.get("snapshots", ())),
        epochs=curve_of(attrs),
        finished=_finished(attrs["finished"]) if "finished" in attrs else None,
        duplicate_of=attrs.get("duplicate_of"),
        **attrs.get("times", {}),
    )


def curve_of(attrs: dict[str, Any]) -> tuple[FinetuneEpoch, ...]:
    """Returns the finetuning epochs that a trial's user attributes hold."""
    curve: dict[str, list[Any]] = attrs.get("curve", {})
    values = zip(*curve.values(), strict=True)
    return tuple(FinetuneEpoch(**dict(zip(curve, row, strict=True))) for row in values)


def _finished(stored: dict[str, Any]) -> Finished:
    test = stored.get("test")
    if test is not None:
        test = TestResult(**{**test, "correct": tuple(test["correct"])})
    return Finished(**{**stored, "test": test})


def records_from_study(study: Study, *, everything: bool = False) -> list[TrialRecord]:
    """Returns the records of all ended trials, by number.

    Args:
        study: A study that was filled by a search.
        everything: Whether to include repeats that were not run (``duplicate_of``) and
            interrupted trials, which a later trial runs again.
    """
    trials = study.get_trials(deepcopy=False)
    records = (record_of(t) for t in trials if everything or counts(t))
    return [record for record in records if record is not None]
