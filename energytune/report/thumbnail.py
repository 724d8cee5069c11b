"""A search in a notebook's cell: outcome, two figures and links."""

from __future__ import annotations

import re
from pathlib import Path

from energytune.report.charts_accuracy import energy_chart
from energytune.report.charts_outcome import outcome_chart
from energytune.report.inputs import ReportInput
from energytune.report.page import environment, style_sheet
from energytune.report.page_text import banner, headline, verdict

__all__ = ["render_thumbnail"]

_MODE = re.compile(r"@media \(prefers-color-scheme: dark\) \{.*?\n\}\n", re.DOTALL)
_PAGE = re.compile(r"^(?:html|body)[^{}]*\{[^{}]*\}\n", re.MULTILINE)


def render_thumbnail(data: ReportInput, report: Path | None = None) -> str:
    """Returns a fragment of HTML.

    It has a ground of its own and stays light: a notebook's theme is not the browser's.

    Args:
        data: What the search has shown.
        report: The whole page, to be linked; None if it was not written.
    """
    winner = data.winner
    outcome = winner and outcome_chart(
        winner,
        data.baselines,
        data.confirmations,
        metric=data.metric,
        n_seeds=data.n_confirm_seeds,
    )
    charts = [
        chart
        for chart in (
            outcome,
            energy_chart(data.records, data.confirmations, winner=winner, metric=data.metric),
        )
        if chart is not None
    ]
    template = environment().get_template("thumbnail.html.j2")
    return template.render(
        data=data,
        css=_PAGE.sub("", _MODE.sub("", style_sheet())),
        headline=headline(data),
        banner=banner(data),
        verdict=verdict(data),
        outcome=outcome,
        charts=charts,
        report=report.as_uri() if report else "",
        link=data.link if data.link.startswith(("http://", "https://")) else "",
    )
