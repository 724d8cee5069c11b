"""A search's own view in MLflow's UI: columns, order and charts, so that nobody has to set them.

MLflow keeps a saved view as a tag of the experiment. A link that names the tag's key opens the
page as the view says, also in a fresh browser, and the page's menu "Views" lists it by name.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from energytune.config import DIMENSIONS
from energytune.tracking.names import LOG_TAU, SEARCH_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["VIEW_TAG", "save_view", "search_filter", "search_view"]

VIEW_TAG = "mlflow.sharedViewState."
"""Prefix of the experiment's tag; the view's key follows, which is the search's id."""

_COLUMNS = (
    "metrics.`objective`",
    "metrics.`ft/best_valid_acc`",
    "metrics.`hp/aie`",
    *(f"params.`{name}`" for name in DIMENSIONS),
    "metrics.`hp/train_acc`",
    "tags.`trial_state`",
)
_WIDTH_PX = 120
_FOLDED = ("hp", "ft", "adaptation", "test", "search", "time", "Model metrics", "System metrics")
"""Sections that MLflow makes by itself, of a chart a metric; they wait below, folded."""
_MOST_RUNS = 100
"""Runs a chart; without it MLflow shows ten."""


def search_filter(search_id: str) -> str:
    """Returns MLflow's filter for the runs of a search."""
    return f"tags.`{SEARCH_TAG}` = '{search_id}'"


def save_view(client: MlflowClient, experiment_id: str, parent: Mapping[str, Any]) -> None:
    """Gives a search its view, the same one each time; a user who may not change tags has none.

    Args:
        client: An open client.
        experiment_id: MLflow's id of the experiment.
        parent: The journal's entry that began the parent run.

    Raises:
        Exception: Whatever MLflow raises, but for a refusal.
    """
    from mlflow.exceptions import MlflowException

    search_id = parent["tags"].get(SEARCH_TAG)
    if not search_id:
        return
    view = search_view(search_id, parent["name"], parent["start_ms"])
    try:
        client.set_experiment_tag(experiment_id, VIEW_TAG + search_id, view)
    except MlflowException as failure:
        if failure.error_code not in ("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE"):
            raise


def search_view(search_id: str, name: str, created_ms: int) -> str:
    """Returns the value of the tag ``VIEW_TAG + search_id``.

    The table shows trials, best first, with objective, FT-valid-acc, AIE and the recipe. The
    charts show accuracy over energy and over tau, the curves, and all dimensions side by side.

    Args:
        search_id: The search.
        name: What the menu calls the view.
        created_ms: Milliseconds since the epoch.
    """
    sections = {title: _section(title) for title in (*_CHARTS, *_FOLDED)}
    for title in _FOLDED:
        sections[title]["display"] = False
    sections[_SIDE_BY_SIDE]["columns"] = 1
    state = {
        "searchFilter": search_filter(search_id),
        "orderByKey": "metrics.`objective`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": _COLUMNS,
        "columnOrder": _COLUMNS,
        "columnWidths": dict.fromkeys(_COLUMNS, _WIDTH_PX),
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": list(sections.values()),
        "compareRunCharts": [
            {
                "uuid": f"{sections[title]['uuid']}-{number}",
                "metricSectionId": sections[title]["uuid"],
                "isGenerated": False,
                "deleted": False,
                "runsCountToCompare": _MOST_RUNS,
                **chart,
            }
            for title, charts in _CHARTS.items()
            for number, chart in enumerate(charts)
        ],
    }
    # packed as MLflow packs it: databases have room for 5000 characters
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": name, "createdAt": created_ms, "state": f"deflate;{packed}"}
    return json.dumps(view)


def _section(title: str) -> dict[str, Any]:
    return {
        "uuid": f"energytune {title}",
        "name": title,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _metric(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def _param(key: str) -> dict[str, str]:
    return {"key": key, "type": "PARAM"}


def _scatter(x: dict[str, str], y: dict[str, str]) -> dict[str, Any]:
    return {"type": "SCATTER", "xaxis": x, "yaxis": y}


def _line(metric: str, *, x_scale: str = "linear") -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": x_scale,
        "scaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }


_TAU, _AIE = _param(LOG_TAU), _metric("hp/aie")
_OBJECTIVE, _BEST = _metric("objective"), _metric("ft/best_valid_acc")
_SIDE_BY_SIDE = "Recipes side by side"
_CHARTS: dict[str, list[dict[str, Any]]] = {
    "FT-valid-acc of complete trials over AIE and log10(tau + 1)": [
        _scatter(_AIE, _OBJECTIVE),
        _scatter(_TAU, _OBJECTIVE),
        _scatter(_TAU, _AIE),
    ],
    "All trials, stopped ones with their best epoch so far": [
        _scatter(_AIE, _BEST),
        _scatter(_TAU, _BEST),
        _line("ft/valid_acc"),
    ],
    "Head probing, by epoch": [
        _line("hp/aie", x_scale="log"),
        _line("hp/train_acc", x_scale="log"),
        _line("hp/head_norm", x_scale="log"),
    ],
    _SIDE_BY_SIDE: [
        {
            "type": "PARALLEL",
            "selectedParams": [LOG_TAU, *(name for name in DIMENSIONS if name != "tau")],
            "selectedMetrics": ["hp/aie", "ft/best_valid_acc"],
            "showAllRuns": True,
        },
    ],
}
