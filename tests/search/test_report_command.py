"""The command of the page: what the command line makes of it is the search it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from energytune.cli.options import SearchOptions
from energytune.config import SearchConfig, SearchSpace, apply_fixes, load_space
from energytune.search.command import SPACE_FILE, reproduction
from tests.report.hand_made import small_search
from tests.search.commands import parsed

KEPT_ELSEWHERE = {"out", "storage", "tracking_uri", "ray_address", "cache_budget"}


def settings(config: SearchConfig) -> dict[str, Any]:
    plain = config.model_dump(exclude=KEPT_ELSEWHERE)
    for name in ("name", "description"):
        plain["space"].pop(name)
    return plain


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"trials": 12, "seed": 7, "concurrency": 1},
        {"fix": ("tau=9",), "finetune_epochs": 40},
        {"fix": ("head_arch=mlp", "ft_lr=0.0123456789"), "baselines": False},
        {"space": "stl10", "fix": ("reinit_depth=0",)},
        {"sampler": "tpe", "pruner": "none", "confirm_seeds": 2, "confirm_recipes": 1},
        {"until": "converged", "ft_epochs": 2000, "time_budget": "1h30m"},
        {"precision": "bf16", "compile": True, "channels_last": True},
        {"warm_start": True, "gpus_per_trial": 0.5, "cpus_per_trial": 2},
        {
            "backbone": "resnet18",
            "checkpoint": Path("/data/my weights.pt"),
            "image_size": 32,
            "weights": "none",
            "data_root": Path("/data"),
            "checkpoint_prefix": "net.",
        },
    ],
)
def test_the_command_gives_the_same_search(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SearchOptions(out=tmp_path / "run", **options).to_config("default")
    told = reproduction(config)
    assert told.space == ""
    assert settings(parsed(told.command, monkeypatch)) == settings(config)


def test_a_space_that_a_backbone_has_narrowed_is_narrowed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SearchOptions(out=tmp_path / "run").to_config("default")
    depths = config.space.reinit_depth.model_copy(update={"high": 1})
    narrowed = config.space.model_copy(update={"reinit_depth": depths})
    told = reproduction(config.model_copy(update={"space": narrowed}))
    assert told.space == ""
    again = parsed(told.command, monkeypatch)
    assert again.narrow_depth
    assert settings(again) == settings(config)


@pytest.mark.parametrize("tau", [None, 8])
def test_a_space_of_one_s_own_is_written_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tau: int | None
) -> None:
    whole = SearchSpace.model_validate(
        {
            "name": "mine",
            "tau": {"low": 0, "high": 64},
            "ft_lr": {"low": 0.003, "high": 0.05, "default": 0.02},
            "finetune": {"epochs": 12, "patience": None},
        }
    )
    fixed = whole if tau is None else apply_fixes(whole, {"tau": tau})
    config = SearchConfig(
        dataset="digits", space=fixed, baseline_taus=(0, 64), out=tmp_path / "a run"
    )
    told = reproduction(config)
    assert SPACE_FILE in " ".join(told.notes)
    config.out.mkdir()
    (config.out / SPACE_FILE).write_text(told.space)
    assert yaml.safe_load(told.space)["tau"]["high"] == 64
    again = parsed(told.command, monkeypatch)
    assert settings(again) == settings(config)


def test_the_winner_alone_is_one_recipe_without_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = small_search()[2].job.recipe
    config = SearchOptions(out=tmp_path / "run", fix=("head_arch=mlp",), confirm_seeds=2).to_config(
        "default"
    )
    again = parsed(reproduction(config, winner).winner, monkeypatch)
    assert again.space.fixed() == winner.to_dict()
    assert (again.n_trials, again.baseline_taus, again.n_confirm_seeds) == (1, (), 2)


def test_it_says_what_it_can_not_promise(tmp_path: Path) -> None:
    config = SearchOptions(
        out=tmp_path / "run",
        time_budget="90s",
        warm_start=True,
        storage="postgresql://me:secret@host/db",
    ).to_config("default")
    told = reproduction(config)
    notes = " ".join(told.notes)
    for words in ("--concurrency 1", "by the clock", "earlier searches", "--storage is left out"):
        assert words in notes
    assert "secret" not in told.command + notes
    one = SearchOptions(out=tmp_path / "run", concurrency=1).to_config("default")
    assert reproduction(one).notes == []


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({"user_data": True}, "The data were given"),
        ({"user_module": True}, "The backbone was given"),
        ({"user_data": True, "user_module": True}, "The data and backbone were given"),
    ],
)
def test_python_objects_can_not_be_named(
    tmp_path: Path, objects: dict[str, bool], words: str
) -> None:
    config = SearchConfig(dataset="mine", space=load_space("default"), out=tmp_path)
    told = reproduction(config, small_search()[2].job.recipe, **objects)
    assert (told.command, told.winner) == ("", "")
    assert words in told.notes[0]
