"""What the page is made from: numbers and texts only, so that this room needs no service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from energytune.config import Recipe, SearchSpace
from energytune.report.words import short_score
from energytune.science.guide import Finding
from energytune.science.noise import SeedNoise
from energytune.tasks import SCORE_NAMES
from energytune.trial import TrialRecord

__all__ = ["Importances", "Reproduction", "ReportInput", "Standing"]


class Standing(Protocol):
    """One recipe after the confirmation's race."""

    @property
    def number(self) -> int:
        """Number of its trial."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        ...

    @property
    def mean(self) -> float | None:
        """Mean validation score over the seeds it finished, in [0, 1]; None without."""
        ...

    @property
    def n_seeds(self) -> int:
        """Seeds it finished."""
        ...

    @property
    def dropped(self) -> str:
        """Why it got no more seeds, or can't win; empty if neither."""
        ...


class Importances(Protocol):
    """Importance of each searched dimension."""

    @property
    def shares(self) -> Mapping[str, float]:
        """Dimension -> share in [0, 1], the largest first."""
        ...

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Dimension -> 90 % bootstrap interval; may be empty."""
        ...

    @property
    def n_trials(self) -> int:
        """Trials that were read."""
        ...

    @property
    def n_stopped(self) -> int:
        """Those of them that were stopped."""
        ...

    @property
    def reason(self) -> str:
        """Why there are no shares; empty if there are."""
        ...


@dataclass(frozen=True)
class Reproduction:
    """How the search is done again.

    Attributes:
        command: The command; empty if none can do it.
        notes: What it needs, what it can't promise, or why there is none.
        winner: The command that runs the winner's recipe alone; empty without.
        space: The search space as YAML, where no packaged space is the same.
    """

    command: str = ""
    notes: Sequence[str] = ()
    winner: str = ""
    space: str = ""


@dataclass(frozen=True)
class ReportInput:
    """Everything that the page shows.

    Attributes:
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        space: What was searched.
        seed: The search's.
        n_trials: Trials that were asked for.
        n_confirm_seeds: Seeds of the confirmation.
        metric: What every score is: ``"accuracy"``, ``"roc_auc"`` or ``"miou"``.
        records: Trials of the search, by number.
        confirmations: Runs on further seeds.
        winner: The chosen trial; None if none is complete.
        baselines: ``"tau=0"`` and ``"tau=max"``, as far as they are complete.
        confirmed: How the recipes stand after the confirmation.
        seed_noise: Spread of the objective between seeds; None if not measured.
        state: ``"ended"``, ``"interrupted"``, or ``"running"``: it goes on, or was killed.
        end_reason: Why the search ended, in words.
        seconds: Wall-clock seconds by stage.
        n_duplicates: Suggestions that were not run again.
        n_waiting: Trials that are running or paused, of a search that has not ended.
        map_rows: One row a head and tau, as
            :func:`energytune.report.energy_lines.head_lines` reads them; empty without a map.
        map_note: Where the map comes from.
        n_classes: K of a softmax task, for the energy that smoothing reserves; None if unknown.
        importances: Of the searched dimensions.
        findings: What the user guide says.
        reproduction: How the search is done again.
        facts: Versions, hashes and other identities: (name, value), in order.
        registered: The registered model, in words; empty without.
        link: Page of the search in MLflow; only http or https is linked.
        notes: What is out of the ordinary.
        made_at: When the page was made, in words.
    """

    dataset: str
    backbone: str
    space: SearchSpace
    importances: Importances
    seed: int = 0
    n_trials: int = 0
    n_confirm_seeds: int = 0
    metric: str = "accuracy"
    records: Sequence[TrialRecord] = ()
    confirmations: Sequence[TrialRecord] = ()
    winner: TrialRecord | None = None
    baselines: Mapping[str, TrialRecord] = field(default_factory=dict)
    confirmed: Sequence[Standing] = ()
    seed_noise: SeedNoise | None = None
    state: Literal["ended", "interrupted", "running"] = "ended"
    end_reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    n_duplicates: int = 0
    n_waiting: int = 0
    map_rows: Sequence[Mapping[str, Any]] = ()
    map_note: str = ""
    n_classes: int | None = None
    findings: Sequence[Finding] = ()
    reproduction: Reproduction = Reproduction()
    facts: Sequence[tuple[str, str]] = ()
    registered: str = ""
    link: str = ""
    notes: Sequence[str] = ()
    made_at: str = ""

    @property
    def score(self) -> str:
        """What the metric is called for a person."""
        return SCORE_NAMES[self.metric]

    @property
    def valid_score(self) -> str:
        """Name of the validation score after finetuning: ``"FT-valid-acc"``."""
        return f"FT-valid-{short_score(self.metric)}"

    @property
    def train_score(self) -> str:
        """Name of the training score after probing: ``"HP-train-acc"``."""
        return f"HP-train-{short_score(self.metric)}"
