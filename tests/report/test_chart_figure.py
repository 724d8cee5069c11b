from __future__ import annotations

import io

import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.collections import PathCollection

from energytune.errors import ConfigError
from energytune.report.bars import importance_bars, stage_bars
from energytune.report.chart import Chart
from energytune.report.chart_figure import draw_bars, draw_chart
from energytune.report.charts_accuracy import energy_chart, tau_chart
from energytune.report.charts_curves import curves_chart
from energytune.report.charts_outcome import adaptation_chart, outcome_chart
from energytune.report.charts_space import map_chart, parallel_chart
from energytune.report.costs import costs
from tests.report.hand_made import small_confirmation, small_search
from tests.report.pages import Shares, space, whole

RECORDS, RUNS = small_search(), small_confirmation()
BASELINES = {"tau=0": RECORDS[0], "tau=max": RECORDS[1]}


def charts() -> list[Chart | None]:
    return [
        outcome_chart(RECORDS[2], BASELINES, RUNS, n_seeds=3),
        adaptation_chart(RECORDS[2], BASELINES, RUNS),
        tau_chart(RECORDS, RUNS, winner=RECORDS[2]),
        energy_chart(RECORDS, RUNS, winner=RECORDS[2]),
        curves_chart(RECORDS, RECORDS[2]),
        map_chart(whole().map_rows),
        parallel_chart(RECORDS, space()),
    ]


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: chart.key if chart else "none")
def test_a_chart_is_drawn_without_a_figure_manager(chart: Chart) -> None:
    n_before = len(Gcf.figs)
    figure = draw_chart(chart, "nothing")
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == len(chart.panels)
    assert all(axes.has_data() for axes in shown)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert len(Gcf.figs) == n_before


def test_the_figure_has_the_numbers_of_the_chart() -> None:
    chart = outcome_chart(RECORDS[2], BASELINES, RUNS, n_seeds=3)
    axes = draw_chart(chart, "").axes[0]
    dots = [c for c in axes.collections if isinstance(c, PathCollection)]
    means = sorted(float(x) for c in dots for x, y in c.get_offsets() if y % 1 == 0)
    assert means == pytest.approx([0.85, 0.9, 0.9])
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[0].startswith("winner, t002: 90.0 %")


def test_bars_are_as_long_as_their_shares() -> None:
    figure = draw_bars(importance_bars(Shares()))
    widths = sorted(float(patch.get_width()) for patch in figure.axes[0].patches)
    assert widths == pytest.approx([0.1, 0.3, 0.6])


def test_nothing_to_draw_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="needs a complete trial; there is none yet"):
        draw_chart(None, "a complete trial")
    with pytest.raises(ConfigError, match="it takes 10 trials"):
        draw_bars(importance_bars(Shares({}, {}, 3, 0, "it takes 10 trials")))
    with pytest.raises(ConfigError, match="has not ended"):
        draw_bars(stage_bars(costs(RECORDS)))
