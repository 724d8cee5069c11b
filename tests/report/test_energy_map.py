from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from energytune.errors import ConfigError, DataError, OutputError
from energytune.report.energy_map import plot_probe_map
from energytune.report.style import COLOURS, line_style, save_figure
from tests.report.maps import TAUS, frame, head_rows


def curves(axes: Axes) -> list[Line2D]:
    """The heads' lines: no reserve, no ring."""
    return [line for line in axes.lines if len(np.atleast_1d(line.get_xdata())) == len(TAUS)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_accuracy_and_energy_stand_side_by_side() -> None:
    figure = plot_probe_map(frame(head_rows(), head_rows("mlp")), 10, title="digits")
    left, right = figure.axes
    assert len(curves(left)) == len(curves(right)) == 2
    assert list(curves(left)[0].get_xdata()) == list(TAUS)
    assert curves(left)[0].get_ydata()[0] == pytest.approx(0.1)
    assert curves(right)[0].get_ydata()[-1] == pytest.approx(1 / 17)
    assert left.get_xscale() == right.get_xscale() == "symlog"
    assert (left.get_ylabel(), right.get_ylabel()) == ("HP-train-acc", "adaptation energy (AIE)")
    assert figure.get_suptitle() == "Energy map: digits"
    assert legend(figure) == ["linear head", "mlp head"]


def test_a_pair_of_panels_a_depth() -> None:
    figure = plot_probe_map(frame(head_rows(), head_rows(depth=2), head_rows("mlp", depth=2)), 10)
    assert len(figure.axes) == 4
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[::2] == ["What the head knows, depth 0", "What the head knows, depth 2"]
    assert [len(curves(axes)) for axes in figure.axes] == [1, 1, 2, 2]


def test_smoothing_is_a_colour_with_a_line_at_its_reserve() -> None:
    figure = plot_probe_map(frame(head_rows(), head_rows(smoothing=0.2)), 10)
    left, right = figure.axes
    plain, smoothed = (to_hex(line.get_color()) for line in curves(right))
    assert plain != smoothed
    (reserve,) = (line for line in right.lines if line not in curves(right))
    assert reserve.get_ydata() == pytest.approx([0.2 * math.sqrt(0.9)] * 2)
    assert to_hex(reserve.get_color()) == smoothed
    assert [text.get_text() for text in right.texts] == ["0.190"]
    assert len(left.lines) == len(curves(left))
    assert "label smoothing 0.2" in legend(figure)
    assert legend(figure)[-1] == "energy that smoothing reserves"


def test_no_reserve_where_no_formula_is_known() -> None:
    figure = plot_probe_map(frame(head_rows(), head_rows(smoothing=0.2)), None, score="ROC-AUC")
    assert len(figure.axes[1].lines) == 2
    assert figure.axes[0].get_ylabel() == "ROC-AUC"
    assert "energy that smoothing reserves" not in legend(figure)


def test_close_reserves_share_a_label() -> None:
    heads = (head_rows(smoothing=eps) for eps in (0.1, 0.11, 0.2))
    figure = plot_probe_map(frame(*heads), 10)
    assert [text.get_text() for text in figure.axes[1].texts] == ["0.095", "0.190"]


def test_rates_differ_by_marker() -> None:
    heads = [head_rows(lr=lr, smoothing=eps) for lr in (0.01, 0.03) for eps in (0.0, 0.1)]
    figure = plot_probe_map(frame(*heads), 10)
    looks = {(to_hex(x.get_color()), x.get_marker()) for x in curves(figure.axes[0])}
    assert len(looks) == 4
    assert {"rate 0.01", "rate 0.03"} <= set(legend(figure))
    decays = plot_probe_map(frame(head_rows(), head_rows(decay=0.001)), 10)
    assert "rate 0.03, decay 0.001" in legend(decays)


def test_seeds_make_a_band_round_their_mean() -> None:
    figure = plot_probe_map(frame(head_rows(), head_rows(seed=1, shift=0.2)), 10)
    (line,) = curves(figure.axes[1])
    assert line.get_ydata()[0] == pytest.approx(1.1)
    (band,) = figure.axes[1].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((1 / 17, 1.2))
    assert "mean of 2 seeds" in figure.get_suptitle()


def test_a_ring_is_where_a_head_was_stopped() -> None:
    stopped = head_rows("mlp", taus=TAUS[:4], converged=True)
    figure = plot_probe_map(frame(head_rows(), stopped), 10)
    for axes in figure.axes:
        (ring,) = (line for line in axes.lines if len(line.get_xdata()) == 1)
        assert list(ring.get_xdata()) == [4]
    assert legend(figure)[-1] == "stopped: converged"
    assert "stopped: converged" not in legend(plot_probe_map(frame(head_rows()), 10))


def test_many_smoothings_still_have_colours_of_their_own() -> None:
    n = len(COLOURS) + 3
    figure = plot_probe_map(frame(*(head_rows(smoothing=0.05 * i) for i in range(n))), 10)
    assert len({to_hex(line.get_color()) for line in curves(figure.axes[0])}) == n


def test_it_draws_thirty_lines_without_a_figure_manager() -> None:
    heads = [
        head_rows(arch, smoothing=0.075 * i, depth=depth)
        for arch in ("linear", "mlp")
        for i in range(5)
        for depth in range(3)
    ]
    n_before = len(Gcf.figs)
    figure = plot_probe_map(frame(*heads), 10)
    assert sum(len(curves(axes)) for axes in figure.axes) == 60
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=30)
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert len(Gcf.figs) == n_before


def test_a_map_without_rows_is_a_clear_error() -> None:
    with pytest.raises(DataError, match="at least one row"):
        plot_probe_map(frame(head_rows()).iloc[:0], 10)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_saved_figure_carries_its_title(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"map{suffix}"
    save_figure(plot_probe_map(frame(head_rows()), 10, title="digits"), path)
    written = path.read_bytes()
    assert written.startswith(start)
    assert b"Energy map: digits" in written
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_figure_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    figure = plot_probe_map(frame(head_rows()), 10)
    with pytest.raises(ConfigError, match=r"must end in \.png, \.svg, \.pdf, got .*map\.jpgg"):
        save_figure(figure, tmp_path / "map.jpgg")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="can't be written"):
        save_figure(figure, tmp_path / "file" / "map.png")


def test_the_first_28_line_styles_differ() -> None:
    assert len({tuple(line_style(i).values()) for i in range(28)}) == 28
