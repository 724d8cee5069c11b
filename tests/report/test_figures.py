from __future__ import annotations

import io

import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure

from energytune.errors import ConfigError
from energytune.report.figures import plot_curves, plot_energy, plot_energy_map, plot_tau
from tests.report.hand_made import small_search, snapshot, trial

PLOTS = (plot_tau, plot_energy, plot_curves, plot_energy_map)


@pytest.mark.parametrize("plot", PLOTS)
def test_draws_without_a_figure_manager(plot) -> None:
    n_before = len(Gcf.figs)
    figure = plot(small_search())
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert len(Gcf.figs) == n_before


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_to_draw_is_a_clear_error(plot) -> None:
    with pytest.raises(ConfigError, match="there is none yet"):
        plot([trial(0, (), state="FAIL", reason="nan")])


def points(figure: Figure) -> list[tuple[float, float]]:
    """All markers, without the ring round the best."""
    clouds = figure.axes[0].collections[:-1]
    return sorted((float(x), float(y)) for c in clouds for x, y in c.get_offsets())


def test_tau_shows_complete_trials_with_0_on_a_log_axis() -> None:
    figure = plot_tau(small_search())
    assert points(figure) == [(0, 0.80), (8, 0.90), (64, 0.82)]
    axes = figure.axes[0]
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] <= 0
    ring = axes.collections[-1].get_offsets()
    assert [(float(x), float(y)) for x, y in ring] == [(8, 0.90)]


def test_energy_is_on_the_x_axis() -> None:
    figure = plot_energy(small_search())
    expected = [(snapshot(64).aie, 0.82), (snapshot(8).aie, 0.90), (snapshot(0).aie, 0.80)]
    assert points(figure) == expected


def test_curves_name_the_baselines_and_the_best() -> None:
    figure = plot_curves(small_search(), n_best=1)
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [name[:4] for name in named] == ["t000", "t001", "t002"]
    assert len(figure.axes[0].lines) == 4  # and the pruned one; not the failed, not the repeated


def test_energy_map_has_a_line_a_trajectory_in_both_panels() -> None:
    figure = plot_energy_map(small_search())
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 2
    assert left.get_xscale() == right.get_xscale() == "symlog"
    mlp = right.lines[1]
    assert list(mlp.get_xdata()) == [0, 1, 2, 3, 4, 6, 8]
