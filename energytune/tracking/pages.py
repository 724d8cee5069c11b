"""The pages of MLflow's UI that show what a store holds: its searches and registered models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energytune.tracking.client import open_client, tracking_errors
from energytune.tracking.links import compare_link, deep_link, model_link
from energytune.tracking.names import SEARCH_TAG, experiment_name
from energytune.tracking.view import VIEW_TAG, search_filter

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

__all__ = ["Page", "find_pages"]

_N_COMPARED = 10
"""Runs on the page that compares: it has a column for each."""


@dataclass(frozen=True)
class Page:
    """What there is to see, and where.

    Attributes:
        title: Name of the search or of the registered model.
        links: Address by what it shows: ``"charts"``, ``"table"``, ``"compare"`` of a search,
            ``"versions"`` of a model.
    """

    title: str
    links: dict[str, str]


def find_pages(uri: str, *, n_latest: int = 5) -> list[Page]:
    """Returns the pages of the latest searches, the latest first, and of their models.

    Args:
        uri: Address of a running MLflow server.
        n_latest: Searches at most.

    Raises:
        TrackingError: The server does not answer.
    """
    client = open_client(uri)
    with tracking_errors(uri):
        found = client.search_experiments(filter_string=f"name LIKE '{experiment_name('')}%'")
        experiments = {e.experiment_id: e for e in found}
        if not experiments:
            return []
        parents = client.search_runs(
            list(experiments),
            "tags.role = 'parent'",
            max_results=n_latest,
            order_by=["attributes.start_time DESC"],
        )
        searches = [
            _search(client, uri, experiments[run.info.experiment_id], run) for run in parents
        ]
        names = dict.fromkeys(experiments[run.info.experiment_id].name for run in parents)
        return searches + list(_models(client, uri, set(names)))


def _search(client: MlflowClient, uri: str, experiment: Experiment, parent: Run) -> Page:
    search_id = parent.data.tags.get(SEARCH_TAG, "")
    has_view = VIEW_TAG + search_id in experiment.tags
    number = experiment.experiment_id
    links = {
        "charts": deep_link(uri, number, search_id, has_view=has_view),
        "table": deep_link(uri, number, search_id, has_view=has_view, page="TABLE"),
    }
    trials = client.search_runs(
        [number],
        f"{search_filter(search_id)} AND tags.trial_state = 'COMPLETE' AND tags.role != 'confirm'",
        max_results=_N_COMPARED,
        order_by=["metrics.`objective` DESC"],
    )
    if len(trials) > 1:
        links["compare"] = compare_link(uri, number, [run.info.run_id for run in trials])
    return Page(parent.info.run_name or search_id, links)


def _models(client: MlflowClient, uri: str, names: set[str]) -> Iterator[Page]:
    for model in client.search_registered_models(f"name LIKE '{experiment_name('')}%'"):
        if model.name in names:
            yield Page(f"model {model.name}", {"versions": model_link(uri, model.name)})
