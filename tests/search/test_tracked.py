from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from energytune.config import SearchConfig
from energytune.search.clock import StageClock
from energytune.search.folder import RunFolder
from energytune.search.tracked import TrackedSearch
from energytune.tracking import TrackingJournal

MakeConfig = Callable[..., SearchConfig]


def params(config: SearchConfig) -> dict[str, str]:
    """Returns the params of the parent run that a search begins with."""
    bench: Any = SimpleNamespace(
        backbone=SimpleNamespace(name="digits-mlp", weights_sha256="ab"),
        splits=SimpleNamespace(fingerprint="cd", protocol="digits test"),
    )
    folder = RunFolder(config)
    folder.path.mkdir()
    TrackedSearch(folder, config, bench, StageClock())
    (entry,) = TrackingJournal(folder.tracking_journal).read().entries
    assert entry["parent"] is None
    told = entry["params"]
    assert isinstance(told, dict)
    return told


def test_what_ends_a_search_and_its_finetunes_is_tracked(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    finetune = {"epochs": 12, "patience": 0.25}
    space = make_config().space.model_dump() | {"finetune": finetune}
    config = make_config(
        space=space,
        sampler="energy",
        until="converged",
        warm_start=True,
        ft_epochs_budget=500,
        n_confirm_recipes=4,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    told = params(config)
    assert {
        "until": "converged",
        "ft_epochs_budget": "500",
        "patience": "0.25",
        "ft_epochs": "12",
        "n_confirm_recipes": "4",
        "warm_start": "True",
    }.items() <= told.items()


def test_what_is_not_limited_is_none(make_config: MakeConfig, tmp_path: Path) -> None:
    finetune = {"epochs": 12, "patience": None}
    space = make_config().space.model_dump() | {"finetune": finetune}
    told = params(make_config(space=space, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert (told["ft_epochs_budget"], told["patience"]) == ("None", "None")
    assert (told["until"], told["warm_start"]) == ("trials", "False")
