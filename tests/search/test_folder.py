import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from energytune.config import SearchConfig
from energytune.errors import OutputError
from energytune.search.folder import DEFAULT_HOME, RunFolder, default_out

MakeConfig = Callable[..., SearchConfig]
CONTENT = {"data": "d1", "weights": "w1"}


def test_a_new_folder_is_claimed_and_an_own_one_continued(make_config: MakeConfig) -> None:
    first = RunFolder(make_config())
    assert first.claim(CONTENT) is False
    limits = {"n_trials": 9, "time_budget_s": 5.0, "ft_epochs_budget": 100}
    again = RunFolder(make_config(concurrency=1, **limits))
    assert again.claim(CONTENT) is True
    assert again.search_id == first.search_id != ""


def test_a_folder_from_before_there_were_engine_settings_goes_on(make_config: MakeConfig) -> None:
    RunFolder(make_config()).claim(CONTENT)
    marker = make_config().out / "search.json"
    assert "engine" not in json.loads(marker.read_text())
    assert RunFolder(make_config(engine={"precision": "fp32"})).claim(CONTENT) is True


@pytest.mark.parametrize(
    ("changes", "content", "named"),
    [
        ({"seed": 5}, CONTENT, "seed was 0 and is 5"),
        ({"dataset": "digits-same"}, CONTENT, "dataset was 'digits'"),
        ({"pruner": "none"}, CONTENT, "pruner"),
        ({"engine": {"precision": "bf16"}}, CONTENT, "engine"),
        ({}, {"data": "d2", "weights": "w1"}, "data was 'd1'"),
    ],
)
def test_the_folder_of_another_search_is_refused_with_what_differs(
    make_config: MakeConfig, changes: dict[str, object], content: dict[str, str], named: str
) -> None:
    RunFolder(make_config()).claim(CONTENT)
    with pytest.raises(OutputError, match="belongs to another search") as caught:
        RunFolder(make_config(**changes)).claim(content)
    assert named in str(caught.value)
    assert "--out" in str(caught.value)


def test_a_folder_with_other_files_is_refused_and_left_alone(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="not empty"):
        RunFolder(make_config()).claim(CONTENT)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_place_that_can_not_be_a_folder_is_an_output_error(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        RunFolder(make_config(out=tmp_path / "file" / "run")).claim(CONTENT)


def test_a_damaged_marker_is_an_output_error(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "search.json").write_text("{")
    with pytest.raises(OutputError, match="can't be read"):
        RunFolder(make_config()).claim(CONTENT)


def test_a_checkpoint_counts_by_its_absolute_path(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RunFolder(make_config(checkpoint="a.safetensors")).claim(CONTENT)
    told = json.loads((tmp_path / "run" / "search.json").read_text())
    assert told["checkpoint"] == os.path.join(tmp_path, "a.safetensors")


def test_default_folders_never_collide_and_share_one_mlflow_store(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_out("folder:/data/x")
    first.mkdir(parents=True)
    second = default_out("folder:/data/x")
    assert first.parent == second.parent == DEFAULT_HOME
    assert not second.exists()
    assert RunFolder(make_config(out=first)).mlflow_home == tmp_path / DEFAULT_HOME
    assert RunFolder(make_config(out=tmp_path / "mine")).mlflow_home == tmp_path / "mine"


def test_storage_is_a_journal_in_the_folder_unless_one_is_named(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    assert RunFolder(make_config()).storage == f"journal://{tmp_path}/run/study.journal"
    assert RunFolder(make_config(storage="sqlite:///x.db")).storage == "sqlite:///x.db"
