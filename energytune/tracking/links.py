"""Links into MLflow's UI that show a search as a chart at once."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from energytune.tracking.names import SEARCH_TAG
from energytune.tracking.store import redact

__all__ = ["UI_ADDRESS", "deep_link", "experiment_path", "run_link"]

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where ``energytune ui`` listens unless its port is taken."""


def deep_link(
    uri: str,
    experiment_id: str,
    search_id: str,
    *,
    ui_address: str = UI_ADDRESS,
    order_by: str = "metrics.objective",
) -> str:
    """Returns the address that shows a search's trials as charts, best first.

    The chart view is named because it is empty until the table is sorted by a metric, and because
    a fresh browser would open MLflow in its view for language models.

    Args:
        uri: The tracking URI; one that is no ``http(s)`` has no page of its own and gets
            ``ui_address``.
        experiment_id: MLflow's id of the experiment.
        search_id: Of the search; all its runs carry it as a tag.
        ui_address: Where ``energytune ui`` shows a database.
        order_by: What the runs are sorted by, largest first.
    """
    return f"{_base(uri, ui_address)}/{experiment_path(experiment_id, search_id, order_by)}"


def run_link(uri: str, experiment_id: str, run_id: str, *, ui_address: str = UI_ADDRESS) -> str:
    """Returns the address of one run's page; see :func:`deep_link` for ``uri``."""
    return f"{_base(uri, ui_address)}/#/experiments/{experiment_id}/runs/{run_id}"


def _base(uri: str, ui_address: str) -> str:
    base = redact(uri, drop=True) if uri.startswith(("http://", "https://")) else ui_address
    return base.rstrip("/")


def experiment_path(experiment_id: str, search_id: str, order_by: str = "metrics.objective") -> str:
    """Returns the part of :func:`deep_link` behind the server's address."""
    query = urlencode(
        {
            "compareRunsMode": "CHART",
            "searchFilter": f"tags.`{SEARCH_TAG}` = '{search_id}'",
            "orderByKey": order_by,
            "orderByAsc": "false",
        },
        quote_via=quote,
    )
    return f"#/experiments/{experiment_id}/runs?{query}"
