"""The folder of a search: whose it is, and where its files lie."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energytune.config import EngineConfig, SearchConfig
from energytune.errors import OutputError
from energytune.json_text import read_json
from energytune.paths import atomic_file

__all__ = ["DEFAULT_HOME", "RunFolder", "default_out"]

DEFAULT_HOME = Path("energytune-runs")
"""Where searches go that name no folder; they share one MLflow store there."""

_ADVICE = "Choose another folder with --out, or free some space."
_MAX_LETTERS = 60  # of a dataset's name: with four bytes each they are still a file name
_NOT_IDENTITY = {
    "out",
    "narrow_depth",
    "n_trials",
    "time_budget_s",
    "ft_epochs_budget",
    "gpu_hours",
    "max_disk",
    "until",
    "concurrency",
    "cpus_per_trial",
    "gpus_per_trial",
    "tracking_uri",
    "storage",
    "ray_address",
    "storage_path",
    "loader_workers",
    "checkpoint_s",
    "n_confirm_seeds",
    "n_confirm_recipes",
    "data_root",
    "cache_budget",
    "warm_start",
}


def default_out(dataset: str) -> Path:
    """Returns a folder that does not exist yet: ``energytune-runs/<dataset>-<date>-<time>``."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{dataset.replace('/', '-').replace(':', '-')[:_MAX_LETTERS]}-{stamp}"
    candidate, n_tries = DEFAULT_HOME / name, 1
    while candidate.exists():
        n_tries += 1
        candidate = DEFAULT_HOME / f"{name}-{n_tries}"
    return candidate


class RunFolder:
    """Paths inside the folder of one search.

    Args:
        config: The search.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.path = config.out.expanduser().absolute()
        self.search_id = ""
        """Identifies the search among all others; set by :meth:`claim`, kept when continued."""
        self._config = config

    @property
    def study(self) -> Path:
        """Optuna's journal file."""
        return self.path / "study.journal"

    @property
    def tracking_journal(self) -> Path:
        """The journal of what MLflow is to be told."""
        return self.path / "tracking.jsonl"

    @property
    def records(self) -> Path:
        """All trial records with their full curves, one JSON document a line."""
        return self.path / "records.jsonl"

    @property
    def about(self) -> Path:
        """What the search runs on, and how it has ended, as one JSON document."""
        return self.path / "about.json"

    @property
    def report(self) -> Path:
        """The page that tells a person what came out."""
        return self.path / "report.html"

    @property
    def models(self) -> Path:
        """Weights of the confirmed models."""
        return self.path / "models"

    @property
    def ray(self) -> Path:
        """What Ray writes."""
        return self.path / "ray"

    @property
    def mlflow_home(self) -> Path:
        """Folder of the default MLflow store: the shared home, or the folder itself."""
        home = DEFAULT_HOME.absolute()
        return home if self.path.parent == home else self.path

    @property
    def storage(self) -> str:
        """Optuna storage URL: the search's own, or the journal file in the folder."""
        return self._config.storage or f"journal://{self.study}"

    @property
    def study_name(self) -> str:
        """Name of the study, which is the folder's."""
        return self.path.name

    def claim(self, content: Mapping[str, str]) -> bool:
        """Makes the folder this search's own; returns whether it continues an earlier run.

        Args:
            content: Fingerprints of the data and of the backbone's weights, by what they are.

        Raises:
            OutputError: If the folder can't be written, is not empty and not energytune's, or
                belongs to another search (told with what differs).
        """
        description = {**self._describe(), **content}
        marker = self.path / "search.json"
        try:
            found = read_json(marker) if marker.exists() else None
            has_files = self.path.is_dir() and any(self.path.iterdir())
        except (OSError, ValueError) as error:
            raise OutputError(f"{marker} can't be read: {error}. {_ADVICE}") from error
        self.search_id = (found or {}).pop("search_id", "") or uuid.uuid4().hex[:12]
        if found is not None:
            if _identity(found) != _identity(description):
                differing = sorted(
                    k for k in {*found, *description} if found.get(k) != description.get(k)
                )
                raise OutputError(
                    f"The output folder {self.path} belongs to another search: "
                    f"{_differences(found, description, differing)}. Choose another folder with "
                    "--out, or repeat that search's options to continue it."
                )
        elif has_files:
            raise OutputError(
                f"The output folder {self.path} is not empty and holds no search. {_ADVICE}"
            )
        with atomic_file(marker, _ADVICE) as file:
            file.write(json.dumps({"search_id": self.search_id, **description}, indent=2).encode())
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise OutputError(f"The output folder {self.path} can't be written. {_ADVICE}")
        return found is not None

    def _describe(self) -> dict[str, Any]:
        plain: dict[str, Any] = self._config.model_dump(mode="json", exclude=_NOT_IDENTITY)
        if self._config.engine == EngineConfig():  # folders from before there was one go on
            del plain["engine"]
        checkpoint = self._config.checkpoint
        if checkpoint is not None:
            plain["checkpoint"] = str(checkpoint.expanduser().absolute())
        return plain


def _identity(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _differences(found: dict[str, Any], wanted: dict[str, Any], names: list[str]) -> str:
    return ", ".join(
        name
        if isinstance(found.get(name), dict)
        else f"{name} was {found.get(name)!r} and is {wanted.get(name)!r}"
        for name in names
    )
