"""``energytune champion`` on a real store with versions of real evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from safetensors.torch import save_file

from energytune.config import Recipe
from energytune.models import build_model, create_backbone
from energytune.tracking.registry import register_winner
from energytune.tracking.store import default_uri, journal_path

pytestmark = pytest.mark.integration

NAME = "energytune-digits"
Register = Callable[..., Any]


@pytest.fixture
def register(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Register:
    """Registers a version that gets ``n_right`` of 100 examples right."""
    backbone = create_backbone("digits-mlp", weights="none", seed=1)
    model = build_model(backbone, head_arch="linear", n_outputs=10, reinit_depth=0, seed=5)
    weights = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)

    def call(n_right: int, *, protocol: str = "digits test") -> Any:
        uid = f"u{n_right}-{protocol}"
        folder = tmp_path / uid
        folder.mkdir()
        return register_winner(
            default_uri(tmp_path),
            "digits",
            run_folder=folder,
            weights=weights,
            spec=model.spec(),
            score=n_right / 100,
            protocol=protocol,
            correct=[i < n_right for i in range(100)],
            recipe=Recipe(tau=9, ft_lr=0.01),
            run_uid=uid,
            search_id=f"s{n_right}",
            input_shape=(64,),
            tags={"backbone": "digits-mlp", "energytune.git_commit": "abc-dirty"},
        )

    return call


@pytest.fixture
def champion(run: Any, tmp_path: Path) -> Callable[..., Any]:
    """Runs a command of ``energytune champion`` on the store; returns its JSON document."""

    def call(command: str, *arguments: str) -> Any:
        told = run("champion", command, *arguments, str(tmp_path), "--dataset", "digits", "--json")
        assert told.exit_code == 0, told.stderr
        return json.loads(told.stdout)

    return call


def test_show_tells_who_why_and_how_to_load_it(
    run: Any, register: Register, tmp_path: Path
) -> None:
    register(50)
    told = run("champion", "show", str(tmp_path), "--dataset", "digits")
    lines = told.stdout.splitlines()
    assert lines[0] == f"Champion of {NAME}: version 1, test score 0.5000"
    assert "first version under its protocol" in lines[1]
    assert lines[2] == "  protocol: digits test"
    assert "tau=9" in lines[3]
    assert "backbone=digits-mlp" in lines[4]
    assert "git_commit=abc-dirty" in lines[5]
    assert lines[6] == f"  load it: models:/{NAME}@champion in {default_uri(tmp_path)}"


def test_without_a_folder_the_environments_server_is_meant(
    run: Any, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(50)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # mlflow sets it in its process
    arguments = ("champion", "show", "--dataset", "digits")
    assert "energytune-runs is no folder" in run(*arguments).stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default_uri(tmp_path))
    assert run(*arguments).stdout.startswith(f"Champion of {NAME}: version 1")
    # a folder that is named goes first
    assert "is no folder" in run(*arguments, str(tmp_path / "none")).stderr


def test_a_promotion_is_not_undone_by_the_next_search(
    register: Register, champion: Callable[..., Any], tmp_path: Path
) -> None:
    register(50)
    register(70)
    register(53)
    assert champion("show")["champion"] == 2
    told = champion("promote", "3", "--reason", "faster")
    assert told["champion"] == 3
    (promotion,) = told["promotions"]
    assert (promotion["kind"], promotion["before"], promotion["reason"]) == ("promote", 2, "faster")
    assert promotion["by"]
    assert told["version"]["tags"]["tau"] == "9"

    # the next search challenges the promoted version: as the first of a new line
    found = register(56)
    assert (found.champion, found.comparison.champion) == (3, 3)
    assert found.comparison.n_challengers == 1
    assert register(61).champion == 5
    alias = MlflowClient(default_uri(tmp_path)).get_model_version_by_alias(NAME, "champion")
    assert int(alias.version) == 5


def test_rollbacks_go_back_one_by_one_and_are_respected(
    run: Any, register: Register, champion: Callable[..., Any], tmp_path: Path
) -> None:
    for n_right in (50, 60, 72):
        register(n_right)
    assert champion("rollback", "--reason", "wrong on night images")["champion"] == 2
    assert register(63).champion == 2
    assert champion("rollback")["champion"] == 1
    refused = run("champion", "rollback", str(tmp_path), "--dataset", "digits")
    assert refused.exit_code == 2
    assert "no champion before v1" in refused.stderr
    kinds = [(p["kind"], p["version"]) for p in champion("history")["promotions"]]
    assert kinds == [("rollback", 2), ("rollback", 1)]


def test_a_promotion_changes_the_protocol(register: Register, champion: Callable[..., Any]) -> None:
    register(50)
    assert "promote 2" in register(50, protocol="new test").decision
    assert champion("promote", "2")["champion"] == 2
    assert register(70, protocol="new test").champion == 3


def test_history_tells_every_version_and_decision(
    run: Any, register: Register, champion: Callable[..., Any], tmp_path: Path
) -> None:
    register(50)
    register(53)
    register(90, protocol="another")
    register(70)
    MlflowClient(default_uri(tmp_path)).create_model_version(NAME, str(tmp_path / "by hand"))
    champion("promote", "1", "--reason", "the paper's")
    document = champion("history")
    assert [v["outcome"] for v in document["versions"]] == [
        "first version",
        "not enough evidence",
        "not comparable",
        "takes over",
        None,
    ]
    second = document["versions"][1]["comparison"]
    assert second["test"]["n_gained"] == 3
    assert second["n_more"] == 220
    assert document["champion"] == 1

    told = run("champion", "history", str(tmp_path), "--dataset", "digits")
    lines = [line.strip() for line in told.stdout.splitlines()]
    assert lines[0] == f"{NAME}: 5 versions, * is the champion"
    assert lines[2].startswith("1 *")
    assert lines[2].endswith("search s50")
    assert "+0.0300 (" in lines[3]
    assert "not enough evidence (against v1): needs about 220 more test examples" in lines[3]
    assert "takes over (against v1)" in lines[5]
    assert "not registered by energytune" in lines[6]
    assert "promoted by hand (before: v4): the paper's" in lines[7]


def test_mistakes_are_told_with_what_there_is(run: Any, register: Register, tmp_path: Path) -> None:
    register(50)
    where = (str(tmp_path), "--dataset")
    unknown = run("champion", "promote", "7", *where, "digits")
    assert unknown.exit_code == 2
    assert f"Unknown version of {NAME} '7'" in unknown.stderr
    misspelt = run("champion", "show", *where, "digit")
    assert misspelt.exit_code == 2
    assert "Did you mean 'digits'?" in misspelt.stderr
    nowhere = run("champion", "show", str(tmp_path / "none"), "--dataset", "digits")
    assert nowhere.exit_code == 2
    assert "is no folder" in nowhere.stderr
    dead = run("champion", "show", *where, "digits", "--tracking-uri", "http://127.0.0.1:9")
    assert dead.exit_code == 2
    assert "can't be reached" in dead.stderr


def test_a_searchs_folder_means_the_store_of_the_search(
    run: Any, register: Register, tmp_path: Path
) -> None:
    from energytune.tracking.drain import remember_uri

    register(50)
    for name in ("one", "two"):
        journal_path(tmp_path / "runs" / name).parent.mkdir(parents=True)
        journal_path(tmp_path / "runs" / name).touch()
        remember_uri(journal_path(tmp_path / "runs" / name), default_uri(tmp_path))
    for folder in (tmp_path / "runs" / "one", tmp_path / "runs"):
        told = run("champion", "show", str(folder), "--dataset", "digits")
        assert told.stdout.startswith(f"Champion of {NAME}: version 1")
    remember_uri(journal_path(tmp_path / "runs" / "two"), "http://127.0.0.1:9")
    refused = run("champion", "show", str(tmp_path / "runs"), "--dataset", "digits")
    assert refused.exit_code == 2
    assert "tracked in 2 places" in refused.stderr
    named = run(
        "champion",
        "show",
        str(tmp_path / "runs"),
        "--dataset",
        "digits",
        "--tracking-uri",
        default_uri(tmp_path),
    )
    assert named.exit_code == 0
