"""What a trial tells: plain frozen records that travel between processes as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from energytune.config import Recipe
from energytune.training import FinetuneEpoch, ProbeSnapshot

__all__ = [
    "EpochsDone",
    "Event",
    "Finished",
    "Job",
    "Paused",
    "ProbeDone",
    "Probing",
    "Role",
    "State",
    "TestResult",
    "Tested",
    "TrialRecord",
    "record_from_dict",
]

Role = Literal["baseline_tau_0", "baseline_tau_max", "search", "confirm", "test"]
State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"]


@dataclass(frozen=True)
class Job:
    """One trial to run.

    Attributes:
        id: Unique within a search and usable as a file name: ``"t007"``, ``"c1-s1002"``.
        number: Number of the study's trial, >= 0; for a confirmation, that of its recipe's trial.
        recipe: What to run, in canonical form.
        seed: Seed of initialisation and batch order.
        role: Why it is run. A ``"confirm"`` job keeps its weights; only a ``"test"`` job reads
            the test split, with the weights of the confirmation that it names.
        tested: Only for a ``"test"`` job: id of that confirmation; empty stands for its own id.
        resume_epoch: Finetuning epochs, >= 0, that were told already before the trial was paused;
            only later ones are told. 0 begins with probing.
    """

    id: str
    number: int
    recipe: Recipe
    seed: int
    role: Role = "search"
    tested: str = ""
    resume_epoch: int = 0

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of the search, and no confirmation or test of one."""
        return self.role not in ("confirm", "test")


@dataclass(frozen=True)
class Probing:
    """Head probing goes on; one per snapshot, for whoever watches.

    Attributes:
        snapshot: The snapshot that was just taken, or found.
        tau: Epoch at which probing will end.
    """

    snapshot: ProbeSnapshot
    tau: int


@dataclass(frozen=True)
class ProbeDone:
    """Head probing has ended; sent once, before the first finetuning epoch.

    Attributes:
        snapshots: One per grid epoch <= tau, ascending; the last one is at tau.
        seconds: Wall-clock seconds this took.
        n_epochs_run: Probing epochs that were really run (the rest came from snapshots).
    """

    snapshots: tuple[ProbeSnapshot, ...]
    seconds: float
    n_epochs_run: int


@dataclass(frozen=True)
class EpochsDone:
    """One or more finetuning epochs, ascending."""

    epochs: tuple[FinetuneEpoch, ...]
    seconds: float


@dataclass(frozen=True)
class TestResult:
    """Evaluation on the test split of one confirmed model; read once a model.

    Attributes:
        accuracy: Share of correct test images, in [0, 1]; of other tasks their own metric
            (``Task.metric``).
        loss: Mean loss over the labelled entries, in nats.
        correct: Per test example, in the split's order, whether it was correct; empty where
            targets are pixels.
        evidence_path: Absolute path of the file beside the weights with what each test example
            adds to the score (:class:`~energytune.tasks.evidence.Evidence`); None where
            ``correct`` says it all, the score being an accuracy.
    """

    __test__ = False  # not a pytest class

    accuracy: float
    loss: float
    correct: tuple[bool, ...]
    evidence_path: str | None = None


@dataclass(frozen=True)
class Finished:
    """A trial has run to its end; its last event, but for a ``"test"`` job's result.

    Attributes:
        objective: Best validation accuracy over the finetuning epochs, in [0, 1].
        best_epoch: Epoch of it, from 1; ties go to the lower validation loss, then the earlier.
        best_valid_loss: Validation loss at that epoch, in nats.
        adaptation: ``feature_distance``, ``feature_cosine``, ``feature_dot``, ``feature_norm``.
        test: Only for confirmed models that were tested: the winner's and both baselines'.
        model_path: Absolute path of the safetensors weights; only for confirmation jobs.
        seconds: Wall-clock seconds of adaptation metrics and saving.
        stop_reason: Why finetuning ended by itself before its last epoch; empty if it did not.
    """

    objective: float
    best_epoch: int
    best_valid_loss: float
    adaptation: dict[str, float]
    test: TestResult | None = None
    model_path: str | None = None
    seconds: float = 0.0
    stop_reason: str = ""


@dataclass(frozen=True)
class Tested:
    """A confirmed model was evaluated on test; the last event of a ``"test"`` job."""

    __test__ = False  # not a pytest class

    test: TestResult
    seconds: float


@dataclass(frozen=True)
class Paused:
    """A trial waits until it is seen whether it is worth going on; no end, and no job tells it.

    The search tells it to whoever watches. The trial's next epochs say that it goes on.

    Attributes:
        epoch: Finetuning epochs that were run, >= 1.
    """

    epoch: int


Event = Probing | ProbeDone | EpochsDone | Finished | Tested | Paused


@dataclass(frozen=True)
class TrialRecord:
    """One trial, one row: what the study, MLflow and the report are told.

    Attributes:
        job: What was run.
        state: COMPLETE, PRUNED or FAIL.
        reason: Why it was pruned or failed; empty if complete.
        snapshots: Probing snapshots (HP-train-acc, HP-valid-acc, AIE, head norm, ...).
        epochs: Finetuning epochs that were run.
        finished: The end's numbers; None unless complete.
        seconds_hp: Wall-clock seconds of head probing.
        seconds_ft: Wall-clock seconds of finetuning.
        n_hp_epochs_run: Probing epochs that were not served from snapshots.
        started_ms: Start, milliseconds since the epoch.
        ended_ms: End, milliseconds since the epoch.
        waited_ms: Milliseconds between them in which the trial was paused.
        duplicate_of: Number of the trial that this one repeats; it was not run again.
    """

    job: Job
    state: State
    reason: str = ""
    snapshots: tuple[ProbeSnapshot, ...] = ()
    epochs: tuple[FinetuneEpoch, ...] = ()
    finished: Finished | None = None
    seconds_hp: float = 0.0
    seconds_ft: float = 0.0
    n_hp_epochs_run: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    waited_ms: int = 0
    duplicate_of: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> float | None:
        """Best validation accuracy in [0, 1] of a complete trial, else None."""
        return self.finished.objective if self.finished else None

    @property
    def stop_reason(self) -> str:
        """Why a complete trial's finetuning ended by itself, early; empty for all others.

        A pruned or failed trial did not end by itself: it has a ``reason``.
        """
        return self.finished.stop_reason if self.finished else ""

    @property
    def probe(self) -> ProbeSnapshot | None:
        """The snapshot at the end of probing, None if probing did not end."""
        return self.snapshots[-1] if self.snapshots else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as JSON values; ``job.recipe`` becomes a dict."""
        plain = asdict(self)
        plain["job"]["recipe"] = self.job.recipe.to_dict()
        return plain


def record_from_dict(plain: dict[str, Any]) -> TrialRecord:
    """Returns the record that :meth:`TrialRecord.to_dict` described.

    Raises:
        KeyError, TypeError, ValueError: If it is no such description.
    """
    checked = _adapter().validate_python(plain)  # a ValidationError is a ValueError
    plain = dict(plain)
    job = dict(plain["job"])
    plain["job"] = Job(**{**job, "recipe": Recipe(**job["recipe"])})
    plain["snapshots"] = tuple(ProbeSnapshot(**s) for s in plain["snapshots"])
    plain["epochs"] = tuple(FinetuneEpoch(**e) for e in plain["epochs"])
    if plain["finished"] is not None:
        finished = dict(plain["finished"])
        if finished["test"] is not None:
            test = dict(finished["test"])
            finished["test"] = TestResult(**{**test, "correct": tuple(test["correct"])})
        plain["finished"] = Finished(**finished)
    TrialRecord(**plain)  # refuses what pydantic passes over: keys of another version
    return checked


@cache
def _adapter() -> TypeAdapter[TrialRecord]:
    return TypeAdapter(TrialRecord)
