"""A login in an address stands in no file of a search, on no console and in no error."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError
from energytune.optimizer import load_study
from energytune.search.about import write_about
from energytune.search.folder import RunFolder
from energytune.search.run import run_search
from energytune.tracking import sync
from energytune.trial import Job
from energytune.trial.builder import RecordBuilder
from tests.postgres import PASSWORD, postgres_server  # noqa: F401 - a fixture

MakeConfig = Callable[..., SearchConfig]
SECRET = "Xq7/Zk9@9:w%rd"
WRITTEN = quote(SECRET, safe="")
MARKS = ("Xq7", "Zk9", "hideme")


def files_with(folder: Path, *marks: str) -> list[str]:
    """Returns the files below a folder that hold one of some texts."""
    return [
        f"{path.relative_to(folder)}: {mark}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for mark in marks
        if mark.encode() in path.read_bytes()
    ]


@pytest.mark.integration
def test_a_search_leaves_no_login_in_its_folder_nor_on_the_console(
    ray_session: None,
    make_config: MakeConfig,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "energytune")
    config = make_config(
        tracking_uri=f"http://hideme:{WRITTEN}@127.0.0.1:9",
        storage=str(request.getfixturevalue("postgres_server").database()),
        n_trials=2,
        n_confirm_seeds=1,
    )
    result = run_search(config)
    assert result.winner is not None
    assert result.tracking.warning is not None
    assert PASSWORD in config.storage  # else the search below would prove nothing
    study = load_study(result.storage, result.study_name)
    told = [result.tracking.warning, repr(result), repr(config), str(study.user_attrs)]
    for call in (lambda: sync(result.out), lambda: sync(result.out, config.tracking_uri)):
        with pytest.raises(EnergyTuneError) as caught:
            call()
        told.append("".join(traceback.format_exception(caught.value)))
    out, err = capfd.readouterr()
    told += [out, err, caplog.text]
    assert files_with(result.out, PASSWORD, *MARKS) == []
    assert [text for text in told for mark in (PASSWORD, *MARKS) if mark in text] == []
    assert "report.html" in {path.name for path in result.out.iterdir()}


@pytest.mark.parametrize(
    "storage",
    [
        f"postgresql://hideme:{WRITTEN}@127.0.0.1:9/db",
        f"postgresql+psycopg2://hideme:{SECRET}@127.0.0.1:9/db",
        f"postgresql://127.0.0.1:9/db?user=hideme&password={WRITTEN}",
        f"nodriver://hideme:{WRITTEN}@127.0.0.1/db",
        f"oracle://hideme:{WRITTEN}@127.0.0.1/db",
        f"postgresql://hideme:{WRITTEN}@127.0.0.1:port/db",
        f"//hideme:{WRITTEN}@127.0.0.1",
    ],
)
def test_errors_of_a_database_hide_its_login(storage: str) -> None:
    with pytest.raises(EnergyTuneError) as caught:
        load_study(storage, "study")
    assert [mark for mark in (*MARKS[:2], "w%rd") if mark in str(caught.value)] == []


def test_a_failed_trials_reason_hides_logins() -> None:
    from energytune.config import Recipe

    job = Job("t001", 1, Recipe(tau=0, head_arch="linear", label_smoothing=0.0, ft_lr=0.1), 0)
    reason = f"ConnectionError: https://hideme:{WRITTEN}@host/file?token={WRITTEN} is gone"
    record = RecordBuilder(job).build("FAIL", reason)
    assert record.reason == "ConnectionError: https://***@host/file?token=*** is gone"


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["storage", "tracking_uri", "ray_address"]), st.booleans())
def test_no_settings_on_disk_hold_a_login(
    make_config: MakeConfig, tmp_path: Path, name: str, in_query: bool
) -> None:
    from energytune.search.about import _settings

    address = f"db://h/x?password={WRITTEN}" if in_query else f"db://hideme:{SECRET}@h/x"
    config = make_config(**{name: address, "out": tmp_path / "settings"})
    RunFolder(config).claim({})
    write_about(tmp_path / "settings" / "about.json", _settings(config))
    assert files_with(tmp_path / "settings", *MARKS) == []
    assert [mark for mark in MARKS[:2] if mark in repr(config)] == []
    for path in (tmp_path / "settings").iterdir():
        path.unlink()
