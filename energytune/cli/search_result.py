"""What the end of a search is told from: the parts of a ``TuneResult`` that it reads.

Protocols, so that telling it needs neither Optuna nor MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from energytune.config import SearchConfig
from energytune.report.cost_plan import SearchPlan
from energytune.report.inputs import Standing
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord

__all__ = ["Registered", "SearchResult", "Tracking"]


class Registered(Protocol):
    """A registered model version."""

    @property
    def name(self) -> str:
        """Name of the registered model."""
        ...

    @property
    def version(self) -> str | int:
        """Version in the registry."""
        ...

    @property
    def is_champion(self) -> bool:
        """Whether the version carries the alias ``champion``."""
        ...

    @property
    def decision(self) -> str:
        """Why it does or does not."""
        ...


class Tracking(Protocol):
    """Where the search's runs have gone."""

    @property
    def uri(self) -> str:
        """MLflow's tracking URI."""
        ...

    @property
    def link(self) -> str | None:
        """Deep link to the search's charts; None for a store without a server."""
        ...

    @property
    def warning(self) -> str | None:
        """Why not everything was sent; None if all was."""
        ...

    @property
    def n_unsent(self) -> int:
        """Journal entries that wait to be sent."""
        ...


class SearchResult(Protocol):
    """What the summary reads of a ``TuneResult``."""

    @property
    def config(self) -> SearchConfig:
        """Settings of the search."""
        ...

    @property
    def records(self) -> Sequence[TrialRecord]:
        """Trials of the search."""
        ...

    @property
    def confirmations(self) -> Sequence[TrialRecord]:
        """Records of the confirmation."""
        ...

    @property
    def winner(self) -> TrialRecord | None:
        """The chosen trial; None if none is complete."""
        ...

    @property
    def confirmed(self) -> Sequence[Standing]:
        """How the recipes stand after the confirmation, the best first; empty before it."""
        ...

    @property
    def seed_noise(self) -> SeedNoise | None:
        """Spread of the objective between seeds of one recipe; None if it was not measured."""
        ...

    @property
    def baselines(self) -> Mapping[str, TrialRecord]:
        """Baselines by name, ``"tau=0"`` and ``"tau=max"``, as far as they were run."""
        ...

    @property
    def registered(self) -> Registered | None:
        """The registered model; None if there is none."""
        ...

    @property
    def tracking(self) -> Tracking | None:
        """Where the runs have gone; None without tracking."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall-clock seconds by stage."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether the search was stopped before its end."""
        ...

    @property
    def n_duplicates(self) -> int:
        """Suggestions that repeated an earlier trial and were not run again."""
        ...

    @property
    def end_reason(self) -> str:
        """Why the search ended, in words; empty if that is not known."""
        ...

    @property
    def plan(self) -> SearchPlan | None:
        """What it was planned to cost; None if it went on from an earlier start."""
        ...

    @property
    def written_bytes(self) -> int:
        """Bytes of the search's folder and of the features that it has cached."""
        ...

    @property
    def metric(self) -> str:
        """What every score is: ``"accuracy"``, ``"roc_auc"`` or ``"miou"``."""
        ...

    @property
    def score_name(self) -> str:
        """What the metric is called for a person."""
        ...

    @property
    def out(self) -> Path:
        """Folder of the search."""
        ...
