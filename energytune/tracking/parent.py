"""Finds a search's parent run, and the page that shows the search."""

from __future__ import annotations

from energytune.errors import TrackingError
from energytune.tracking.client import open_client, tracking_errors
from energytune.tracking.links import deep_link
from energytune.tracking.observer import UID_TAG, experiment_name
from energytune.tracking.view import VIEW_TAG

__all__ = ["find_parent_run"]


def find_parent_run(uri: str, dataset: str, search_id: str) -> tuple[str | None, str | None]:
    """Returns the deep link of a search and the id of its parent run; None each if not there.

    Args:
        uri: Tracking server or database.
        dataset: Name of the dataset.
        search_id: The search.
    """
    try:
        client = open_client(uri)
        with tracking_errors(uri):
            experiment = client.get_experiment_by_name(experiment_name(dataset))
            if experiment is None:
                return None, None
            query = f"tags.`{UID_TAG}` = '{search_id}'"
            runs = client.search_runs([experiment.experiment_id], query, max_results=1)
    except TrackingError:
        return None, None
    has_view = VIEW_TAG + search_id in experiment.tags
    link = deep_link(uri, experiment.experiment_id, search_id, has_view=has_view)
    return link, runs[0].info.run_id if runs else None
