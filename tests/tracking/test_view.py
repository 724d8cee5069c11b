"""A search's own view in MLflow: what is in the tag, and when it is written."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from energytune.config import DIMENSIONS, Recipe
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.names import LOG_TAU, trial_params
from energytune.tracking.observer import TrackingObserver
from energytune.tracking.parent import find_parent_run
from energytune.tracking.resend import sync
from energytune.tracking.store import journal_path
from energytune.tracking.view import VIEW_TAG, save_view, search_view
from energytune.trial import Job, TrialRecord

PARENT = {"tags": {"energytune.search": "s1"}, "name": "search a", "start_ms": 5}


def state_of(view: str) -> dict[str, Any]:
    packed = json.loads(view)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_the_view_shows_energy_accuracy_and_every_dimension_of_one_search() -> None:
    view = search_view("s1", "search a", 5)
    assert len(view) < 5000, "the column of the tag in a database"
    assert json.loads(view).keys() == {"name", "createdAt", "state"}
    state = state_of(view)
    assert state["searchFilter"] == "tags.`energytune.search` = 's1'"
    columns = state["selectedColumns"]
    assert columns[:4] == [
        "metrics.`objective`",
        "metrics.`ft/best_valid_acc`",
        "metrics.`hp/aie`",
        "params.`tau`",
    ]
    assert {f"params.`{name}`" for name in DIMENSIONS} < set(columns)
    sections = {section["uuid"] for section in state["compareRunSections"]}
    charts = state["compareRunCharts"]
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert {chart["metricSectionId"] for chart in charts} <= sections


def test_params_that_the_view_and_the_compare_page_rely_on() -> None:
    params = trial_params(Job("t0", 0, Recipe(tau=9, ft_lr=0.01), 0), "digits", "digits-mlp")
    axes = {
        axis["key"]
        for chart in state_of(search_view("s1", "a", 0))["compareRunCharts"]
        for axis in (chart.get("xaxis"), chart.get("yaxis"))
        if axis and axis["type"] == "PARAM"
    }
    assert axes == {LOG_TAU} <= set(params)
    # MLflow's compare page draws the first three that differ; these are what a search varies
    assert LOG_TAU in sorted({*DIMENSIONS, LOG_TAU})[:3]


@pytest.mark.parametrize(
    ("code", "is_raised"), [("PERMISSION_DENIED", False), ("TEMPORARILY_UNAVAILABLE", True)]
)
def test_a_user_who_may_not_change_tags_has_no_view_and_no_error(
    code: str, is_raised: bool
) -> None:
    class Refusing:
        def set_experiment_tag(self, *_: object) -> None:
            from mlflow.protos.databricks_pb2 import ErrorCode

            raise MlflowException("no", error_code=ErrorCode.Value(code))

    refusing: Any = Refusing()
    if is_raised:
        with pytest.raises(MlflowException):
            save_view(refusing, "1", PARENT)
    else:
        save_view(refusing, "1", PARENT)


@pytest.mark.integration
def test_the_link_names_the_view_once_it_is_there(
    tmp_path: Path, make_record: Callable[..., TrialRecord]
) -> None:
    observer = TrackingObserver(
        TrackingJournal(journal_path(tmp_path)), "s1", "digits", "digits-mlp", {}
    )
    observer.job_ended(make_record(0))
    uri = sync(tmp_path).uri
    link, _ = find_parent_run(uri, "digits", "s1")
    assert link is not None
    assert "viewStateShareKey=s1" in link
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("energytune-digits")
    assert (
        json.loads(experiment.tags[f"{VIEW_TAG}s1"])["name"] == f"search {tmp_path.name} digits-mlp"
    )
    before = experiment.tags
    sync(tmp_path)
    assert client.get_experiment_by_name("energytune-digits").tags == before

    client.delete_experiment_tag(experiment.experiment_id, f"{VIEW_TAG}s1")
    link, _ = find_parent_run(uri, "digits", "s1")
    assert link is not None
    assert "searchFilter" in link
