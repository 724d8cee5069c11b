"""The page of a search: one HTML file that loads nothing, from the numbers of a search.

Whatever comes from outside (names, paths, reasons) is escaped: by the templates, and by
:mod:`energytune.report.chart_svg` in its own text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from energytune.report.bars import importance_bars, stage_bars
from energytune.report.chart import Chart
from energytune.report.chart_svg import panel_svg, swatch_svg
from energytune.report.charts_accuracy import energy_chart, tau_chart
from energytune.report.charts_curves import curves_chart
from energytune.report.charts_outcome import adaptation_chart, outcome_chart
from energytune.report.charts_space import map_chart, parallel_chart
from energytune.report.costs import costs
from energytune.report.inputs import ReportInput
from energytune.report.page_text import (
    banner,
    cost_rows,
    headline,
    missing_adaptation,
    missing_outcome,
    neighbour_rows,
    noise_text,
    standing_rows,
    tiles,
    verdict,
)
from energytune.report.stops import stop_groups
from energytune.report.words import count, percent

__all__ = ["MAX_BYTES", "environment", "render_figure", "render_page", "style_sheet"]

MAX_BYTES = 2_000_000
"""What a page stays below, however many trials a search had."""
_TEMPLATES = Path(__file__).parent / "templates"
_SAFE_LINK = re.compile(r"https?://[^\s]+\Z")


def render_page(data: ReportInput) -> str:
    """Returns the page of a search as HTML.

    Args:
        data: What it shows; whatever is missing is said to be missing.
    """
    spent = costs(data.records, data.confirmations, data.seconds)
    link = data.link if _SAFE_LINK.match(data.link) else ""
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            css=Markup(style_sheet()),
            headline=headline(data),
            banner=banner(data),
            verdict=verdict(data),
            tiles=tiles(data, spent),
            charts=_charts(data),
            missing=_missing(data),
            standings=standing_rows(data),
            noise=noise_text(data),
            neighbours=neighbour_rows(data),
            importance=importance_bars(data.importances),
            stages=stage_bars(spent),
            cost_rows=cost_rows(data, spent),
            stops=stop_groups(data.records),
            n_run=sum(r.duplicate_of is None for r in data.records),
            link=link,
        )
    )
    return page.replace("\r\n", "\n")


def render_figure(chart: Chart) -> Markup:
    """Returns a chart as a ``<figure>`` with its finding, legend and table."""
    return Markup(environment().get_template("figure.html.j2").render(chart=chart))


@cache
def style_sheet() -> str:
    """Returns the page's style sheet."""
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Returns the templates, which escape all that they are given."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(panel_svg=panel_svg, swatch_svg=swatch_svg, figure=render_figure)
    made.filters.update(count=count, percent=percent)
    return made


def _charts(data: ReportInput) -> Mapping[str, Chart | None]:
    """Returns the page's charts by key; None for one that has nothing to show."""
    winner, runs, metric = data.winner, data.confirmations, data.metric
    found: dict[str, Chart | None] = {
        "outcome": outcome_chart(
            winner, data.baselines, runs, metric=metric, n_seeds=data.n_confirm_seeds
        ),
        "map": map_chart(data.map_rows, score=data.train_score, n_classes=data.n_classes),
        "tau": tau_chart(data.records, runs, winner=winner, metric=metric),
        "energy": energy_chart(data.records, runs, winner=winner, metric=metric),
        "parallel": parallel_chart(data.records, data.space, metric=metric),
        "curves": curves_chart(data.records, winner, metric=metric),
        "adaptation": adaptation_chart(winner, data.baselines, runs),
    }
    return found


def _missing(data: ReportInput) -> Mapping[str, Any]:
    """Returns why a chart has nothing to show, by key."""
    n = len(data.records)
    none = "No trial has run yet." if n == 0 else f"None of {count(n, 'trial')} is complete."
    return {
        "outcome": missing_outcome(data),
        "adaptation": missing_adaptation(data),
        "map": "Not measured: no head was probed.",
        "tau": none,
        "energy": none,
        "parallel": none,
        "curves": "No trial has finetuned for an epoch.",
    }
