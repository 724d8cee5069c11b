from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from energytune.cli.options import SearchOptions
from energytune.errors import ConfigError, EnergyTuneError, MissingDataError, OutputError
from energytune.optimizer import open_study
from energytune.search.resume import resumed_config
from tests.search.test_report import write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished search."""
    options = SearchOptions(out=tmp_path / "one", trials=7, seed=3, ft_epochs=400, concurrency=2)
    return write_folder(options.to_config("default")).out


def change(folder: Path, **values: object) -> None:
    path = folder / "about.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_all_settings_are_as_they_were(folder: Path) -> None:
    before = SearchOptions(out=folder, trials=7, seed=3, ft_epochs=400, concurrency=2)
    assert resumed_config(folder) == before.to_config("default")


@pytest.mark.parametrize(("trials", "n_trials"), [("+20", 27), (" + 1", 8), ("50", 50), (12, 12)])
def test_more_trials_lift_the_limit_that_ended_it(
    folder: Path, trials: str | int, n_trials: int
) -> None:
    config = resumed_config(folder, n_trials=trials)
    assert (config.n_trials, config.ft_epochs_budget) == (n_trials, None)


def test_what_a_machine_decides_may_change_and_the_rest_stays(folder: Path) -> None:
    config = resumed_config(folder, concurrency=5, gpus_per_trial=0.5, ray_address="10.0.0.1:6379")
    assert (config.concurrency, config.gpus_per_trial) == (5, 0.5)
    assert (config.ray_address, config.seed, config.n_trials) == ("10.0.0.1:6379", 3, 7)


def test_a_moved_folder_is_where_it_is_now(folder: Path, tmp_path: Path) -> None:
    assert resumed_config(folder.rename(tmp_path / "moved")).out == tmp_path / "moved"


@pytest.mark.parametrize("trials", ["-3", "ten", "", "+", "3.5"])
def test_what_is_no_number_of_trials_is_refused(folder: Path, trials: str) -> None:
    with pytest.raises(ConfigError, match=r"a number, or \+ and a number .*Try --trials \+20"):
        resumed_config(folder, n_trials=trials)


def test_a_setting_that_breaks_a_rule_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="concurrency"):
        resumed_config(folder, concurrency=0)


def test_python_objects_cannot_be_made_again(folder: Path) -> None:
    change(folder, user_data=True, user_module=True)
    with pytest.raises(ConfigError, match=r"data and backbone .* Call tune\(\) again"):
        resumed_config(folder)


def test_no_search_and_one_that_never_began_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is no folder"):
        resumed_config(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="holds no search"):
        resumed_config(tmp_path)
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(OutputError, match=r"killed before its first trial.*Repeat the command"):
        resumed_config(tmp_path)


@pytest.mark.parametrize("damage", ['{"config": {}}', '{"config": {"seed": "x"}}', "{}", "[1"])
def test_damaged_settings_are_told(folder: Path, damage: str) -> None:
    (folder / "about.json").write_text(damage)
    with pytest.raises(OutputError):
        resumed_config(folder)


def test_a_study_leads_to_its_folder(folder: Path, tmp_path: Path) -> None:
    storage = f"journal://{tmp_path / 'studies'}"
    study = open_study(storage, "mine", sampler=RandomSampler(), pruner=NopPruner())
    with pytest.raises(OutputError, match="does not say what was searched"):
        resumed_config("mine", storage=storage)
    about = json.loads((folder / "about.json").read_text())
    study.set_user_attr("energytune", about | {"folder": str(folder)})
    config = resumed_config("mine", storage=storage, n_trials="+1")
    assert (config.out, config.storage, config.n_trials) == (folder, storage, 8)
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match=r"is not on this machine\. Name where .* --out"):
        resumed_config("mine", storage=storage)
    assert resumed_config("mine", storage=storage, out=moved).out == moved


def test_a_folder_with_its_storage_told_again(folder: Path) -> None:
    """Where the URL holds a password it is stored nowhere."""
    url = "postgresql://me:secret@db/studies"
    assert resumed_config(folder, storage=url).storage == url


def test_a_storage_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        resumed_config("mine", storage=f"journal://{tmp_path / 'none'}")
    assert issubclass(MissingDataError, EnergyTuneError)
