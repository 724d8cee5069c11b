"""Links into MLflow's UI that show what a user wants to see without setting anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote, urlencode

from energytune.redact import without_login
from energytune.tracking.view import search_filter

__all__ = ["UI_ADDRESS", "compare_link", "deep_link", "experiment_path", "model_link", "run_link"]

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where ``energytune ui`` listens unless its port is taken."""

_WORKFLOW = {"workflowType": "machine_learning"}
"""A fresh browser would open MLflow in its view for language models."""


def deep_link(
    uri: str,
    experiment_id: str,
    search_id: str,
    *,
    ui_address: str = UI_ADDRESS,
    order_by: str = "metrics.`objective`",
    has_view: bool = False,
    page: Literal["CHART", "TABLE"] = "CHART",
) -> str:
    """Returns the address that shows a search's trials, best first.

    Args:
        uri: The tracking URI; one that is no ``http(s)`` has no page of its own and gets
            ``ui_address``.
        experiment_id: MLflow's id of the experiment.
        search_id: Of the search; all its runs carry it as a tag.
        ui_address: Where ``energytune ui`` shows a database.
        order_by: What the runs are sorted by, largest first: without an order by a metric the
            charts are empty.
        has_view: Whether the experiment has the search's own view
            (:mod:`energytune.tracking.view`), which says more than a link can.
        page: ``"CHART"`` or ``"TABLE"``.
    """
    path = experiment_path(experiment_id, search_id, order_by, has_view=has_view, page=page)
    return f"{_base(uri, ui_address)}/{path}"


def run_link(uri: str, experiment_id: str, run_id: str, *, ui_address: str = UI_ADDRESS) -> str:
    """Returns the address of one run's page; see :func:`deep_link` for ``uri``."""
    return f"{_base(uri, ui_address)}/#/experiments/{experiment_id}/runs/{run_id}"


def compare_link(
    uri: str, experiment_id: str, run_ids: Sequence[str], *, ui_address: str = UI_ADDRESS
) -> str:
    """Returns the address of the page that compares runs; see :func:`deep_link` for ``uri``."""
    query = urlencode(
        {"runs": json.dumps(list(run_ids)), "experiments": json.dumps([experiment_id]), **_WORKFLOW}
    )
    return f"{_base(uri, ui_address)}/#/compare-runs?{query}"


def model_link(
    uri: str, name: str, version: int | None = None, *, ui_address: str = UI_ADDRESS
) -> str:
    """Returns the address of a registered model's page, or of one version's.

    Args:
        uri: See :func:`deep_link`.
        name: Of the registered model.
        version: Number of the version; None is the page of them all.
        ui_address: See :func:`deep_link`.
    """
    path = f"#/models/{quote(name, safe='')}" + (f"/versions/{version}" if version else "")
    return f"{_base(uri, ui_address)}/{path}?{urlencode(_WORKFLOW)}"


def _base(uri: str, ui_address: str) -> str:
    base = without_login(uri) if uri.startswith(("http://", "https://")) else ui_address
    return base.rstrip("/")


def experiment_path(
    experiment_id: str,
    search_id: str,
    order_by: str = "metrics.`objective`",
    *,
    has_view: bool = False,
    page: Literal["CHART", "TABLE"] = "CHART",
) -> str:
    """Returns the part of :func:`deep_link` behind the server's address."""
    # a filter or an order beside a view's key would make MLflow ignore the view
    shown = (
        {"viewStateShareKey": search_id}
        if has_view
        else {
            "searchFilter": search_filter(search_id),
            "orderByKey": order_by,
            "orderByAsc": "false",
        }
    )
    query = urlencode({"compareRunsMode": page, **shown, **_WORKFLOW}, quote_via=quote)
    return f"#/experiments/{experiment_id}/runs?{query}"
