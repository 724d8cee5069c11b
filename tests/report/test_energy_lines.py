from __future__ import annotations

import pytest

from energytune.errors import DataError
from energytune.report.energy_lines import head_lines, head_names
from tests.report.maps import TAUS, frame, head_rows


def test_one_line_a_head_with_shallow_cuts_and_plain_heads_first() -> None:
    lines = head_lines(
        frame(
            head_rows(depth=1),
            head_rows("mlp", smoothing=0.1),
            head_rows("mlp"),
            head_rows(),
        )
    )
    assert head_names(lines) == ["linear", "mlp", "mlp ls=0.1", "linear k=1"]
    assert list(lines[0].mean.index) == list(TAUS)
    assert lines[0].mean["aie"].loc[4] == pytest.approx(0.2)


def test_rates_and_decays_are_named_where_they_vary() -> None:
    lines = head_lines(frame(head_rows(lr=0.3), head_rows(decay=0.001)))
    assert head_names(lines) == ["linear lr=0.03 wd=0.001", "linear lr=0.3 wd=0"]


def test_seeds_give_mean_and_range() -> None:
    (line,) = head_lines(
        frame(head_rows(seed=0), head_rows(seed=1, shift=0.3), head_rows(seed=2, shift=0.6))
    )
    assert line.n_seeds == 3
    at_1 = [float(part["aie"].loc[1]) for part in (line.low, line.mean, line.high)]
    assert at_1 == pytest.approx([0.5, 0.8, 1.1])
    assert not line.converged


def test_a_converged_seed_counts_with_its_last_values() -> None:
    short = head_rows(seed=1, taus=TAUS[:4], converged=True)
    (line,) = head_lines(frame(head_rows(seed=0), short))
    assert line.mean["aie"].loc[16] == pytest.approx((1 / 17 + 1 / 5) / 2)
    assert not line.converged  # the other seed went on
    both = frame(head_rows(seed=0, taus=TAUS[:5], converged=True), short)
    assert head_lines(both)[0].converged


def test_a_seed_that_failed_counts_while_it_lived() -> None:
    (line,) = head_lines(frame(head_rows(seed=0), head_rows(seed=1, taus=TAUS[:3], shift=0.2)))
    assert line.mean["aie"].loc[2] == pytest.approx(1 / 3 + 0.1)
    assert line.mean["aie"].loc[16] == pytest.approx(1 / 17)


def test_a_missing_column_and_an_empty_map_are_clear_errors() -> None:
    rows = frame(head_rows())
    with pytest.raises(DataError, match=r"it lacks lr, aie\. Make it with"):
        head_lines(rows.drop(columns=["aie", "lr"]))
    with pytest.raises(DataError, match="at least one row, got none"):
        head_lines(rows.iloc[:0])
